// A graph as SVG: laid out by a worker, moved and zoomed by hand, following what runs.
import { h, morph, s } from './dom.js';

export const WIDTH = 200, HEIGHT = 56;
const LETTERS = 25;   // of a line in a node; the lower one is smaller and has a few more
const ORDER = ['success', 'processing', 'enqueued', 'scheduled', 'pending', 'cancelled', 'expired', 'failed'];

// A browser lets no text become a program, unless such a policy says that it may.
const policy = window.trustedTypes?.createPolicy('worq', { createScriptURL: (url) => url });
const worker = { it: null, made: null, wanted: '', asked: 0 };

function ask(graph, done) {
  if (!worker.it) {
    const url = String(new URL('./layout.js', import.meta.url));
    worker.it = new Worker(policy ? policy.createScriptURL(url) : url, { type: 'module' });
  }
  const id = ++worker.asked;
  worker.it.onmessage = ({ data }) => {
    if (data.id !== worker.asked) return;   // another one has been asked for since
    worker.made = {
      ...data, of: worker.wanted, places: new Map(data.nodes.map(([key, x, y]) => [key, [x, y]])),
    };
    done();
  };
  worker.it.postMessage({
    id,
    nodes: graph.nodes.map((node) => [node.key, WIDTH, HEIGHT]),
    edges: graph.edges.map((edge) => [edge.source, edge.target]),
  });
}

// The layout of a graph; null until it has been made. `done` is called then.
export function layout(graph, done) {
  const of = JSON.stringify([graph.root, graph.nodes.map((node) => node.key),
    graph.edges.map((edge) => [edge.source, edge.target, edge.kind])]);
  if (worker.wanted !== of) {
    worker.wanted = of;
    ask(graph, done);
  }
  // while another one is made, what stays is shown where it was
  return worker.made && worker.made.nodes.some(([key]) => key === graph.root) ? worker.made : null;
}

// -- what is seen of it --

export const view = { x: 0, y: 0, scale: 1, of: '', follow: false };

export function fit(element, made) {
  const { clientWidth: width, clientHeight: height } = element;
  view.scale = Math.min(width / made.width, height / made.height, 1.15) || 1;
  view.scale = Math.max(view.scale, 0.35);
  view.x = (made.width - width / view.scale) / 2;
  view.y = (made.height - height / view.scale) / 2;
  if (view.x > 0 && made.width * view.scale > width) view.x = 0;
}

export function middle(element, x, y) {
  view.x = x - element.clientWidth / view.scale / 2;
  view.y = y - element.clientHeight / view.scale / 2;
}

export function zoom(element, by, x = element.clientWidth / 2, y = element.clientHeight / 2) {
  const scale = Math.min(Math.max(view.scale * by, 0.1), 3);
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  place(element);
}

// Shows the part that is looked at.
export function place(element) {
  const { clientWidth: width, clientHeight: height } = element;
  if (!width) return;
  element.setAttribute('viewBox', `${view.x} ${view.y} ${width / view.scale} ${height / view.scale}`);
}

export function moving(element, draw) {
  element.onwheel = (event) => {
    event.preventDefault();
    view.follow = false;
    zoom(element, event.deltaY < 0 ? 1.12 : 1 / 1.12, event.offsetX, event.offsetY);
  };
  element.onpointerdown = (event) => {
    if (event.button) return;
    let [x, y] = [event.clientX, event.clientY];
    let moved = 0;
    element.onpointermove = (move) => {
      moved += Math.abs(move.clientX - x) + Math.abs(move.clientY - y);
      if (moved < 5) return;   // a click that trembles
      element.setPointerCapture(event.pointerId);
      view.x -= (move.clientX - x) / view.scale;
      view.y -= (move.clientY - y) / view.scale;
      [x, y] = [move.clientX, move.clientY];
      if (view.follow) { view.follow = false; draw(); }
      place(element);
    };
    element.onpointerup = element.onpointercancel = () => { element.onpointermove = null; };
  };
}

// -- drawing --

const short = (text, most = LETTERS) => (text.length > most ? `${text.slice(0, most - 9)}…${text.slice(-8)}` : text);

// Fills an svg with a graph. `href(node)`: where a node leads; `words(node)`: its second line.
export function paint(element, graph, made, { href, words, chosen }) {
  const fresh = s('svg', {},
    s('defs', {}, s('marker', { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
      s('path', { d: 'M0 0.5 L8 4 L0 7.5 z' }))),
    graph.edges.map((edge, n) => {
      const points = made.of === worker.wanted ? made.edges[n] : null;
      if (points) {   // from the side of one to the side of the other
        const [from, to] = [made.places.get(edge.source), made.places.get(edge.target)];
        if (from[0] < to[0]) {
          points[0] = [from[0] + WIDTH / 2, from[1]];
          points[points.length - 1] = [to[0] - WIDTH / 2, to[1]];
        }
      }
      return points ? s('path', { class: `edge e-${edge.kind}`, d: curve(points), 'marker-end': 'url(#arrow)', key: `e ${n}` }) : null;
    }),
    graph.nodes.map((node) => {
      const there = made.places.get(node.key);
      return there ? one(node, there, href(node), words(node), node.key === chosen, node.key === graph.root) : null;
    }));
  morph(element, fresh);
}

function one(node, [x, y], href, line, chosen, root) {
  const stack = node.size > 1;
  const title = stack ? `${node.name} ×${node.size.toLocaleString('en')}` : node.name || '?';
  const under = stack ? line : `${node.key.length > 12 ? `${node.key.slice(0, 5)}…${node.key.slice(-5)}` : node.key} · ${line}`;
  return s('a', {
    href, key: `n ${node.key}`, class: `node s-${node.state || 'several'}${chosen ? ' chosen' : ''}${root ? ' root' : ''}`,
    transform: `translate(${x - WIDTH / 2} ${y - HEIGHT / 2})`, 'aria-label': `${title}${stack ? '' : ` ${node.key}`}, ${line}`,
  },
  stack ? s('rect', { class: 'behind', x: 4, y: -4, width: WIDTH, height: HEIGHT, rx: 8 }) : null,
  s('rect', { class: 'face', width: WIDTH, height: HEIGHT, rx: 8 }),
  s('rect', { class: 'side', width: 5, height: HEIGHT - 16, x: 6, y: 8, rx: 2.5 }),
  s('text', { class: 'title', x: 19, y: 22 }, short(title)),
  s('text', { class: 'under', x: 19, y: 39 }, short(under, LETTERS + 7)),
  bar(node),
  node.above ? s('text', { class: 'more', x: -6, y: HEIGHT / 2 + 4, 'text-anchor': 'end' }, `+${node.above}`) : null,
  node.below ? s('text', { class: 'more', x: WIDTH + 6, y: HEIGHT / 2 + 4 }, `+${node.below}`) : null,
  s('title', {}, `${title}\n${stack ? '' : `${node.key}\n`}${line}`));
}

// How far it is: a stack by the states of its tasks, a task by its progress.
function bar(node) {
  const width = WIDTH - 38;
  if (node.size > 1) {
    let x = 19;
    return ORDER.filter((state) => node.states[state]).map((state) => {
      const part = width * node.states[state] / node.size;
      x += part;
      return s('rect', { class: `part p-${state}`, x: x - part, y: HEIGHT - 11, width: part, height: 5 });
    });
  }
  const { done, total } = node.progress || {};
  if (!(total > 0)) return null;
  return [s('rect', { class: 'part', x: 19, y: HEIGHT - 11, width, height: 5, rx: 2 }),
    s('rect', { class: 'part p-processing', x: 19, y: HEIGHT - 11, width: width * Math.min(Math.max(done / total, 0), 1), height: 5, rx: 2 })];
}

function curve(points) {
  const [[x, y], ...more] = points;
  let path = `M${x} ${y}`;
  more.forEach(([nx, ny], n) => {
    if (n === more.length - 1) path += ` L${nx} ${ny}`;
    else {
      const [mx, my] = more[n + 1];
      path += ` Q${nx} ${ny} ${(nx + mx) / 2} ${(ny + my) / 2}`;
    }
  });
  return path;
}

export const canvas = () => h('div', { class: 'canvas', key: 'canvas', own: true });

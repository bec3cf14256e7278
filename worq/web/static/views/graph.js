// The graph around a task, live: what it waits for, and what waits for it.
import { h, s } from '../dom.js';
import { canvas, fit, layout, middle, moving, paint, place, view, zoom } from '../drawing.js';
import { eta } from '../eta.js';
import { NAMES, number, plural, span, state } from '../words.js';
import { empty, linked } from './parts.js';

const levels = (page) => ({ up: page.asked.up || 3, down: page.asked.down || 3 });
const topicOf = (page) => page.topic('graph', { id: page.asked.id || '', open: page.asked.open || '', ...levels(page) });
const namesOf = (page) => page.topic('names', { hours: 1 });
const chosen = (page) => page.asked.sel || page.asked.id;
const taskOf = (page) => page.topic('task', { id: chosen(page) || '' });

export const title = (page) => `Graph of ${page.asked.id || 'a task'}`;
export const topics = (page) => (page.asked.id ? [topicOf(page), namesOf(page), taskOf(page)] : []);

const here = (page, more) => page.link('graph', {
  id: page.asked.id, open: page.asked.open, up: page.asked.up, down: page.asked.down, sel: page.asked.sel, ...more,
});

export function render(page) {
  if (!page.asked.id) return [h('h1', {}, 'Graph'), h('p', { class: 'lead' }, 'Of which task? Its page leads here.')];
  const said = page.seen[topicOf(page)];
  if (!said || said.value === undefined) return empty(said);
  if (said.value === null) {
    return [h('h1', { class: 'mono wrap' }, page.asked.id), h('p', { class: 'lead' }, 'The queue does not know this task.')];
  }
  const graph = said.value;
  const root = graph.nodes[0];
  return [
    h('div', { class: 'row' }, h('h1', { class: 'wrap' }, root.name, ' ', h('span', { class: 'id dim mono' }, root.key)),
      root.state ? state(root.state) : null, when(page, graph, said.now),
      h('span', { class: 'row end' },
        h('button', { type: 'button', 'aria-label': 'Closer', onclick: () => zoom(element(), 1.25) }, '+'),
        h('button', { type: 'button', 'aria-label': 'Farther', onclick: () => zoom(element(), 0.8) }, '−'),
        h('button', { type: 'button', onclick: () => { view.of = ''; view.follow = false; page.draw(); } }, 'Whole'),
        h('button', { type: 'button', 'aria-pressed': String(view.follow), onclick: () => { view.follow = !view.follow; page.draw(); } }, 'Follow'))),
    graph.left_out ? h('p', { class: 'dim' }, `${plural(graph.left_out, 'more task')} not shown.`) : null,
    h('div', { class: 'beside' }, canvas(), panel(page)),
    h('p', { class: 'row dim' },
      'An arrow leads to what waits: ', h('span', { class: 'stroke' }), 'for an argument', h('span', { class: 'stroke dashed' }), 'for what it returned',
      h('span', { class: 'stroke dotted' }), 'for its batch.',
      h('span', { class: 'row end choice' }, 'Levels', ...[1, 3, 10].map((count) => h('a', {
        href: here(page, { up: count, down: count }), 'aria-current': String(levels(page).up) === String(count) ? 'true' : null,
      }, count)),
      page.asked.open ? h('a', { href: here(page, { open: '' }) }, 'fold all') : null)),
  ];
}

function when(page, graph, now) {
  const means = new Map((page.seen[namesOf(page)]?.value || []).map(({ name, work }) => [name, work.run_mean]));
  const overview = page.seen[page.topic('overview')]?.value;
  const found = eta(graph, means, overview?.workers || 0, now);
  if (!found) return null;
  if (found.seconds === Infinity) return h('span', { class: 'dim' }, 'no pool works on it');
  const by = found.by === 'workers' ? `bound by ${plural(overview.workers, 'worker')}`
    : `bound by the chain ${found.chain.slice(-4).join(' → ')}`;
  return h('span', { class: 'dim' }, `${found.unknown ? 'at least' : 'about'} ${span(found.seconds)}, ${by}`);
}

const words = (now) => (node) => {
  if (node.size > 1) {
    return Object.entries(node.states).map(([word, count]) => `${number(count)} ${NAMES[word] || word}`).join(', ');
  }
  const { done, total } = node.progress || {};
  const how = total > 0 ? ` ${Math.floor(100 * done / total)} %` : '';
  return `${NAMES[node.state] || node.state}${how}${node.since !== null && node.state === 'processing' ? ` ${span(Math.max(now - node.since, 0))}` : ''}`;
};

function panel(page) {
  const id = chosen(page);
  const found = page.seen[taskOf(page)]?.value;
  return h('section', { class: 'card panel', 'aria-label': 'The task that is chosen' },
    found ? [
      h('div', { class: 'row' }, h('h2', { class: 'wrap' }, found.name, ' ', h('span', { class: 'id dim' }, found.id)), state(found.state)),
      h('pre', { class: 'explain' }, linked(page, found.explain)),
      found.error ? h('p', { class: 'mono wrap bad' }, found.error) : null,
      h('p', { class: 'row' }, h('a', { href: page.link('task', { id }) }, 'All of it'),
        id !== page.asked.id ? h('a', { href: page.link('graph', { id, up: page.asked.up, down: page.asked.down }) }, 'Its graph') : null)]
      : h('p', { class: 'dim' }, found === null ? 'It is forgotten.' : 'Looking …'));
}

const element = () => document.querySelector('.canvas svg');

export function drawn(page) {
  const room = document.querySelector('.canvas');
  const said = page.seen[topicOf(page)];
  if (!room || !said?.value) return;
  const graph = said.value;
  const made = layout(graph, page.draw);
  if (!room.firstChild) {
    room.append(s('svg', { role: 'group', 'aria-label': 'Graph' }));
    moving(room.firstChild, page.draw);
    view.of = '';
  }
  if (!made) return;
  const svg = room.firstChild;
  paint(svg, graph, made, {
    chosen: chosen(page), words: words(said.now),
    href: (node) => (node.size > 1 ? here(page, { open: [...(page.asked.open || '').split(' ').filter(Boolean), node.key].join(' ') })
      : here(page, { sel: node.key })),
  });
  if (view.of !== graph.root) {
    view.of = graph.root;
    fit(svg, made);
  }
  if (view.follow) follow(svg, graph, made);
  place(svg);
}

function follow(svg, graph, made) {
  const runs = graph.nodes.filter((node) => node.states.processing && made.places.has(node.key))
    .map((node) => made.places.get(node.key));
  if (!runs.length) return;
  const mean = (n) => runs.reduce((all, place) => all + place[n], 0) / runs.length;
  middle(svg, mean(0), mean(1));
}

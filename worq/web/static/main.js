// The page: which view, its news, the header. What each view shows is in views/.
import { h, morph } from './dom.js';
import { get } from './api.js';
import { Live } from './live.js';
import { say } from './dialog.js';
import * as overview from './views/overview.js';
import * as tasks from './views/tasks.js';
import * as task from './views/task.js';
import * as graph from './views/graph.js';
import * as failed from './views/failed.js';
import * as pools from './views/pools.js';
import * as schedules from './views/schedules.js';
import * as log from './views/log.js';

const BASE = new URL('../', import.meta.url).pathname;   // where the page is mounted
const VIEWS = { '': overview, tasks, task, graph, failed, pools, schedules, log };
const NAV = [['', 'Overview'], ['tasks', 'Tasks'], ['failed', 'Failed'], ['pools', 'Pools'],
  ['schedules', 'Schedules'], ['log', 'Log']];
const LIVES = {
  live: ['live', 'News come as they happen'],
  asking: ['asking', 'There are no live news here; the page asks every two seconds'],
  lost: ['lost', 'The server cannot be reached; the page tries again by itself'],
  hidden: ['paused', ''],
  '': ['…', 'Connecting'],
};

const main = document.getElementById('main');
const header = document.getElementById('header');
const page = {
  me: { rights: 'read', who: '', queues: [], acts: [] },
  path: '',
  asked: {},        // the query of the address
  seen: {},         // by topic: {value, error, now}
  standing: '',     // of the connection
  link, go, draw,
  topic,
  refresh: () => arrive(false),
  may: (act) => page.me.acts.includes(act),
};
const live = new Live((topic, said) => {
  if (said.error !== undefined && page.seen[topic] && said.status !== 400 && said.status !== 404) {
    said = { ...page.seen[topic], error: said.error };   // what was seen stays, with a word
  }
  page.seen[topic] = said;
  draw();
}, (standing) => {
  if (page.standing === standing) return;
  if (standing === 'lost') say('The server cannot be reached.', true);
  page.standing = standing;
  draw();
});

// -- addresses --

// The address of a view; the queue goes along.
function link(path, asked = {}) {
  const query = new URLSearchParams();
  if (page.asked.queue && !('queue' in asked)) query.set('queue', page.asked.queue);
  for (const [name, value] of Object.entries(asked)) {
    if (value !== '' && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return BASE + path + (text ? `?${text}` : '');
}

function topic(kind, asked = {}) {
  const query = new URLSearchParams(asked);
  if (page.asked.queue) query.set('queue', page.asked.queue);
  const text = query.toString();
  return kind + (text ? `?${text}` : '');
}

function go(address, replace = false) {
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
  arrive(!replace);
}

// `fresh`: something else is to be shown, from its top; not another part of the same graph.
function arrive(fresh) {
  const path = location.pathname.slice(BASE.length);
  const of = `${path} ${new URLSearchParams(location.search).get('id')}`;
  fresh &&= path !== 'graph' || page.of !== of;
  page.of = of;
  page.path = path in VIEWS ? path : '';
  page.asked = Object.fromEntries(new URLSearchParams(location.search));
  const view = VIEWS[page.path];
  const topics = [topic('overview'), ...view.topics(page)];
  for (const known of Object.keys(page.seen)) {
    if (!topics.includes(known)) delete page.seen[known];
  }
  live.watch(topics);
  if (fresh) {
    window.scrollTo(0, 0);
    main.replaceChildren();
    main.focus({ preventScroll: true });
  }
  draw();
}

document.addEventListener('click', (event) => {
  const found = event.target.closest('a[href]');
  if (!found || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const address = new URL(found.getAttribute('href'), document.baseURI);   // of SVG, too
  if (address.origin !== location.origin || !address.pathname.startsWith(BASE)
      || address.hash || found.target) return;
  event.preventDefault();
  go(address.pathname + address.search);
});
window.addEventListener('popstate', () => arrive(true));

// -- drawing --

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const view = VIEWS[page.path];
    const title = view.title(page);
    document.title = `${title} – ${queue()} – WorQ`;
    morph(header, h('header', {}, head()));
    morph(main, h('main', {}, trouble(), view.render(page)));
    if (view.drawn) view.drawn(page);
  });
}

const queue = () => page.asked.queue || page.me.queues[0] || '';

function trouble() {
  const errors = [...new Set(Object.values(page.seen).map((said) => said.error).filter(Boolean))];
  return errors.map((error) => h('p', { class: 'trouble', role: 'alert', key: `e ${error}` }, error));
}

function head() {
  const [word, title] = LIVES[page.standing] || LIVES[''];
  return [
    h('a', { class: 'brand', href: link(''), 'aria-label': 'WorQ, overview' },
      h('img', { src: `${BASE}static/icon.svg`, alt: '', width: 24, height: 24 }), 'WorQ'),
    page.me.queues.length > 1
      ? h('select', { 'aria-label': 'Queue', onchange: (event) => go(link('', { queue: event.target.value })) },
        page.me.queues.map((name) => h('option', { value: name, selected: name === queue() }, name)))
      : h('span', { class: 'queue' }, queue()),
    h('nav', { 'aria-label': 'Views' }, NAV.map(([path, name], n) => h('a', {
      href: link(path), 'aria-current': path === page.path ? 'page' : null,
      title: `Key ${n + 1}`,
    }, name))),
    h('span', { class: `standing ${page.standing || 'none'}`, title }, h('span', { class: 'dot', 'aria-hidden': 'true' }), word),
    h('span', { class: 'me', title: page.me.rights === 'act' ? 'You may act' : 'You may look, and do nothing' },
      page.me.who, page.me.rights === 'act' ? '' : ' (read only)'),
    h('button', { type: 'button', class: 'plain', 'aria-label': `Colours: ${theme()}`, title: `Colours: ${theme()}`, onclick: turn },
      { light: '☀', dark: '☾', 'as the system': '◐' }[theme()]),
  ];
}

// -- light and dark --

const kept = () => { try { return localStorage.getItem('worq-theme') || ''; } catch { return ''; } };
const theme = () => document.documentElement.dataset.theme || 'as the system';

function turn() {
  const next = { 'as the system': 'light', light: 'dark', dark: '' }[theme()];
  paint(next);
  try { localStorage.setItem('worq-theme', next); } catch { /* it is not kept, then */ }
  page.repaint = true;
  draw();
}

function paint(word) {
  if (word) document.documentElement.dataset.theme = word;
  else delete document.documentElement.dataset.theme;
}

// -- keys --

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const view = NAV[Number(event.key) - 1];
  if (view) go(link(view[0]));
  else if (event.key === '/') document.querySelector('[data-search]')?.focus();
  else if (event.key === 'j' || event.key === 'k') step(event.key === 'j' ? 1 : -1);
  else return;
  event.preventDefault();
});

function step(by) {
  const links = [...main.querySelectorAll('tbody a, .node')];
  const next = links[Math.max(0, links.indexOf(document.activeElement) + by)];
  next?.focus();
}

// -- start --

paint(kept());
const said = await get('me');
if (said.error) {
  main.replaceChildren(h('p', { class: 'trouble', role: 'alert' }, said.error));
} else {
  page.me = said;
}
arrive(true);

// One task: why it is not done, or how it ended, and all there is to see of it.
import { h } from '../dom.js';
import { ask, say } from '../dialog.js';
import { LIVE, bytes, plural, span, state, time } from '../words.js';
import { revive } from './failed.js';
import { empty, linked, taskLink } from './parts.js';

let shown = '';   // the id of the task whose arguments somebody has asked for

const topicOf = (page) => page.topic('task', {
  id: page.asked.id || '', ...(shown === page.asked.id ? { arguments: 1 } : {}),
});

export const title = (page) => {
  const found = page.seen[topicOf(page)]?.value;
  return found ? `${found.name || 'task'} ${found.id}` : 'Task';
};

export function topics(page) {
  if (shown !== page.asked.id) shown = '';
  return [topicOf(page)];
}

export function render(page) {
  if (!page.asked.id) return [h('h1', {}, 'A task'), search(page)];
  const said = page.seen[topicOf(page)];
  if (!said || said.value === undefined) return empty(said);
  if (said.value === null) {
    return [h('h1', { class: 'mono wrap' }, page.asked.id),
      h('p', { class: 'lead' }, 'The queue does not know this task: it was never put, its result was ignored, '
        + 'or it has been forgotten since.'), search(page)];
  }
  const found = said.value;
  return [
    h('div', { class: 'row' }, h('h1', { class: 'wrap' }, found.name || 'A task', ' ', h('span', { class: 'id dim mono' }, found.id)),
      found.state ? state(found.state) : null,
      h('span', { class: 'row end' },
        h('a', { href: page.link('graph', { id: found.id }) }, 'Graph'),
        h('button', { type: 'button', onclick: () => copy(found.id) }, 'Copy id'),
        again(page, found),
        LIVE.includes(found.state) && page.may('cancel')
          ? h('button', { type: 'button', class: 'danger', onclick: () => cancel(page, found) }, 'Cancel …') : null)),
    found.note ? h('p', { class: 'trouble' }, found.note) : null,
    progress(found),
    h('section', { class: 'card', 'aria-labelledby': 'why' }, h('h2', { id: 'why' }, LIVE.includes(found.state) ? 'Why it is not done yet' : 'How it ended'),
      h('pre', { class: 'explain' }, linked(page, found.explain))),
    outcome(page, found),
    h('div', { class: 'columns' }, life(page, found), call(page, found), neighbours(page, found)),
    deaths(found),
    found.errors.length ? h('section', { class: 'card' }, h('h2', {}, 'Attempts before'),
      h('ol', {}, found.errors.map((error) => h('li', { class: 'mono wrap' }, error)))) : null,
  ];
}

function search(page) {
  return h('form', { class: 'row', onsubmit: (event) => {
    event.preventDefault();
    const id = event.target.elements.id.value.trim();
    if (id) page.go(page.link('task', { id }));
  } }, h('label', {}, 'Id of a task ', h('input', { name: 'id', 'data-search': true, autocomplete: 'off' })),
  h('button', { type: 'submit' }, 'Show'));
}

function progress(found) {
  if (!found.progress) return null;
  const { done, total, text } = found.progress;
  const told = total ? `${Math.floor(100 * done / total)} %` : String(done);
  return h('div', { class: 'progress' },
    total ? h('progress', { max: total, value: done, 'aria-label': 'Progress' }) : null,
    h('span', {}, told, text ? `: ${text}` : ''));
}

function outcome(page, found) {
  if (found.error) {
    return h('section', { class: 'card failed' }, h('h2', {}, 'Error'),
      h('p', { class: 'mono wrap' }, found.error),
      found.origin ? h('p', {}, 'It comes from ', taskLink(page, found.origin)) : null,
      found.traceback ? h('pre', { class: 'traceback', tabindex: 0, role: 'region', 'aria-label': 'Traceback' }, found.traceback) : null);
  }
  if (found.state !== 'success') return null;
  return h('section', { class: 'card' }, h('h2', {}, 'Value'),
    shown === found.id || shown === page.asked.id
      ? h('pre', { class: 'value', tabindex: 0, role: 'region', 'aria-label': 'Value' }, found.result || '(nothing was kept)') : reveal(page, 'Show the value'),
    found.origin ? h('p', {}, 'It comes from ', taskLink(page, found.origin)) : null);
}

function reveal(page, label) {
  return h('button', { type: 'button', onclick: () => {
    const before = page.seen[topicOf(page)];
    shown = page.asked.id;
    page.seen[topicOf(page)] = before;
    page.refresh();
  } }, label);
}

const fact = (name, ...value) => h('div', { class: 'fact', key: name }, h('dt', {}, name), h('dd', {}, value));

function life(page, found) {
  const steps = [['Put', found.put], ['Ready', found.ready], ['Begun', found.begun], ['Ended', found.ended]]
    .filter(([, at]) => at !== null);
  return h('section', { class: 'card', 'aria-labelledby': 'life' }, h('h2', { id: 'life' }, 'Life'), h('dl', {},
    steps.map(([name, at], n) => fact(name, time(at), n && at >= steps[n - 1][1]
      ? h('span', { class: 'dim' }, ` after ${span(at - steps[n - 1][1])}`) : null)),
    found.running !== null ? fact('Runs for', span(found.running)) : null,
    found.due ? fact('Due in', span(found.due)) : null,
    found.expires !== null ? fact('Too late in', span(found.expires)) : null,
    found.attempt ? fact('Attempt', found.attempt) : null,
    found.deliveries ? fact('Delivered', plural(found.deliveries, 'time')) : null,
    found.pool ? fact('Pool', h('a', { href: page.link('pools'), class: 'mono' }, found.pool),
      found.worker !== null ? `, worker ${found.worker}` : '') : null,
    found.peak ? fact('Memory, at most', bytes(found.peak)) : null));
}

function call(page, found) {
  if (found.size === null && !found.options.length && !found.skipped) return null;
  const args = found.arguments;
  return h('section', { class: 'card', 'aria-labelledby': 'call' }, h('h2', { id: 'call' }, 'Call'),
    found.size !== null ? h('p', {}, `Its arguments have ${bytes(found.size)}.`) : null,
    args ? [
      args.note ? h('p', { class: 'dim' }, args.note) : null,
      h('ol', { class: 'arguments' }, args.args.map((text) => h('li', { class: 'mono wrap' }, text))),
      h('dl', {}, Object.entries(args.kw).map(([name, text]) => fact(name, h('span', { class: 'mono wrap' }, text))))]
      : found.size !== null ? reveal(page, 'Show the arguments') : null,
    found.skipped ? h('p', {}, `${plural(found.skipped, 'argument')} that had failed left out.`) : null,
    found.options.length ? h('ul', { class: 'options' }, found.options.map((line) => h('li', { class: 'mono' }, line))) : null);
}

function neighbours(page, found) {
  const waits = [...found.waits_for];
  const sources = found.sources.filter((id) => !waits.includes(id));
  if (!waits.length && !sources.length && !found.gate) return null;
  const list = (ids) => h('ul', {}, ids.map((id) => h('li', {}, taskLink(page, id))));
  const more = found.open - waits.length;
  return h('section', { class: 'card', 'aria-labelledby': 'others' }, h('h2', { id: 'others' }, 'Other tasks'),
    waits.length ? [h('h3', {}, found.target ? 'It has returned, and waits for' : 'It waits for'), list(waits),
      !found.target && more > 0 ? h('p', { class: 'dim' }, `and ${plural(more, 'more', 'more')}`) : null] : null,
    sources.length ? [h('h3', {}, 'Its arguments are the values of'), list(sources)] : null,
    found.gate ? [h('h3', {}, 'Held back by'), list([found.gate])] : null);
}

function deaths(found) {
  if (!found.deaths.length) return null;
  return h('section', { class: 'card' }, h('h2', {}, 'Workers that were lost with it'), h('table', { class: 'stack' },
    h('thead', {}, h('tr', {}, ['When', 'Pool', 'How'].map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, found.deaths.map((death) => h('tr', {},
      h('td', { 'data-label': 'When' }, time(death.moment)), h('td', { 'data-label': 'Pool', class: 'mono' }, death.pool),
      h('td', { 'data-label': 'How', class: 'wrap' }, death.text, reached(death.progress)))))));
}

function reached(progress) {
  if (!progress) return '';
  const { done, total, text } = progress;
  return `; at ${done}${total ? ` of ${total}` : ''}${text ? ` ${text}` : ''}`;
}

// -- acts --

async function copy(id) {
  try {
    await navigator.clipboard.writeText(id);
    say('The id is copied.');
  } catch {
    say('The browser lets nothing be copied here.', true);
  }
}

function again(page, found) {
  if (!['failed', 'expired'].includes(found.state) || !page.may('revive')) return null;
  if (found.origin && found.origin !== found.id) return null;   // it is that one which can run again
  const run = (downstream) => () => revive(page, found.name || 'this task', [found.id], downstream);
  return [h('button', { type: 'button', onclick: run(false) }, 'Run again …'),
    h('button', { type: 'button', onclick: run(true) }, 'With all that failed because of it …')];
}

async function cancel(page, found) {
  await ask('cancel', 1, { queue: page.asked.queue, ids: [found.id] }, () => [
    `Cancel ${found.name || 'this task'}?`,
    `${found.id}, and all tasks that depend on it. This cannot be undone.`, 'Cancel it'],
  (said) => (said.done ? 'It is cancelled.' : 'It had ended already.'));
}

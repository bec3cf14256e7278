// Tasks by state and name, in pages; the filter is part of the address.
import { h } from '../dom.js';
import { ask, say } from '../dialog.js';
import { get } from '../api.js';
import { LIVE, NAMES, OVER, ago, number, plural, span, state } from '../words.js';
import { empty, nameField, taskLink } from './parts.js';

const ALL = [...LIVE, ...OVER];
const chosen = new Set();   // ids that are ticked
let of = '';                // ... of which address

const stateOf = (page) => (ALL.includes(page.asked.state) ? page.asked.state : 'processing');
const filter = (page, more = {}) => ({
  state: stateOf(page), name: page.asked.name || '', order: page.asked.order || '', ...more,
});
const topicOf = (page) => page.topic('tasks', filter(page, { cursor: page.asked.cursor || '', count: 50 }));

export const title = (page) => `Tasks ${NAMES[stateOf(page)]}`;
export const topics = (page) => [topicOf(page)];

export function render(page) {
  const said = page.seen[topicOf(page)];
  const address = page.link('tasks', filter(page));
  if (of !== address) chosen.clear();
  of = address;
  return [
    h('h1', { class: 'hidden' }, 'Tasks'),
    states(page),
    form(page),
    said?.value ? list(page, said) : empty(said),
  ];
}

function states(page) {
  const sizes = page.seen[page.topic('overview')]?.value?.sizes || {};
  return h('nav', { class: 'tabs', 'aria-label': 'States' }, ALL.map((word) => h('a', {
    href: page.link('tasks', { state: word, name: page.asked.name }),
    'aria-current': word === stateOf(page) ? 'page' : null,
  }, state(word), word in sizes ? h('span', { class: 'count' }, ` ${number(sizes[word])}`) : null)));
}

function form(page) {
  const apply = (event) => {
    event.preventDefault();
    page.go(page.link('tasks', filter(page, { name: event.target.elements.name.value.trim() })));
  };
  const newest = (page.asked.order || 'newest') === 'newest';
  return h('form', { class: 'row', role: 'search', onsubmit: apply },
    nameField(page),
    h('button', { type: 'submit' }, 'Filter'),
    page.asked.name ? h('a', { href: page.link('tasks', { state: stateOf(page) }) }, 'all names') : null,
    h('a', { class: 'end', href: page.link('tasks', filter(page, { order: newest ? 'oldest' : '' })) },
      newest ? 'newest first' : 'oldest first'),
    LIVE.includes(stateOf(page)) && page.may('cancel')
      ? h('button', { type: 'button', class: 'danger', onclick: () => cancelAll(page) }, 'Cancel all of these …') : null,
    page.may('purge') ? h('button', { type: 'button', class: 'danger', onclick: () => purge(page) },
      'Cancel all that has not begun …') : null);
}

function list(page, said) {
  const { rows, cursor } = said.value;
  const act = LIVE.includes(stateOf(page)) && page.may('cancel');
  const known = new Set(rows.map((row) => row.id));
  for (const id of chosen) if (!known.has(id)) chosen.delete(id);
  const later = page.asked.cursor;
  return [
    act && chosen.size ? h('div', { class: 'row bar', key: 'bar' }, plural(chosen.size, 'task'), ' chosen',
      h('button', { type: 'button', class: 'danger', onclick: () => cancelChosen(page) }, 'Cancel them …')) : null,
    rows.length ? h('table', { class: 'card stack' },
      h('caption', { class: 'hidden' }, `Tasks that are ${NAMES[stateOf(page)]}`),
      h('thead', {}, h('tr', {}, act ? h('th', { scope: 'col' }, tick('All of this page',
        rows.every((row) => chosen.has(row.id)), (on) => rows.forEach((row) => (on ? chosen.add(row.id) : chosen.delete(row.id))), page)) : null,
      heads(page).map((text, n) => h('th', { scope: 'col', class: n % 2 ? 'num' : null }, text)))),
      h('tbody', {}, rows.map((row) => one(page, row, said.now, act))))
      : h('p', { class: 'lead' }, `No task ${page.asked.name ? `of these names ` : ''}is ${NAMES[stateOf(page)]} `
        + (cursor ? 'on this page; there may be on the next one.' : later ? 'any more on this page.' : 'now.')),
    h('div', { class: 'row' },
      later ? h('a', { href: page.link('tasks', filter(page)) }, '⇤ first page') : null,
      cursor ? h('a', { class: 'end', rel: 'next', href: page.link('tasks', filter(page, { cursor })) }, 'next page →') : null),
  ];
}

const WHEN = {
  processing: 'Taken', enqueued: 'Ready for', pending: 'Put', scheduled: 'Put', failed: 'Ended', expired: 'Ended',
  cancelled: 'Ended', success: 'Ended',
};
const heads = (page) => ['Task', WHEN[stateOf(page)], stateOf(page) === 'scheduled' ? 'Due' : 'Pool', 'Attempt'];

function one(page, row, now, act) {
  const [task, when, where, attempt] = heads(page);
  return h('tr', { key: row.id },
    act ? h('td', { class: 'tick' }, tick(`Choose ${row.id}`, chosen.has(row.id),
      (on) => (on ? chosen.add(row.id) : chosen.delete(row.id)), page)) : null,
    h('th', { scope: 'row', 'data-label': task }, taskLink(page, row.id, row.name)),
    h('td', { class: 'num', 'data-label': when }, ago(row.since, now),
      row.since !== null && stateOf(page) !== 'enqueued' ? ' ago' : ''),
    h('td', { 'data-label': where }, stateOf(page) === 'scheduled'
      ? row.due === null ? '–' : row.due > now ? `in ${span(row.due - now)}` : 'now' : h('span', { class: 'mono' }, row.pool || '–')),
    h('td', { class: 'num', 'data-label': attempt }, row.attempt || '–'));
}

function tick(label, on, change, page) {
  return h('input', {
    type: 'checkbox', 'aria-label': label, checked: on,
    onchange: (event) => { change(event.target.checked); event.target.blur(); page.draw(); },
  });
}

// -- acts --

const cancelled = (said) => `${plural(said.done, 'task')} cancelled.`;

const words = (what) => (count) => [
  `Cancel ${plural(count, 'task')}?`,
  `${what}, and all tasks that depend on ${count === 1 ? 'it' : 'them'}. This cannot be undone.`,
  `Cancel ${plural(count, 'task')}`,
];

async function cancelChosen(page) {
  const ids = [...chosen];
  await ask('cancel', ids.length, { queue: page.asked.queue, ids }, words('Those that you have chosen'), cancelled);
  chosen.clear();
  page.draw();
}

async function cancelAll(page) {
  const asked = { state: stateOf(page), name: page.asked.name || '' };
  const said = await get(page.topic('count', asked));
  if (said.error) return say(said.error, true);
  const { count, more } = said.value;
  if (!count) return say('There is none.');
  const which = `${more ? 'The oldest of those' : 'All'} that are ${NAMES[asked.state]}`
    + `${asked.name ? ` and are named ${asked.name}` : ''}${more ? '; there are more than one act takes' : ''}`;
  await ask('cancel', count, { queue: page.asked.queue, ...asked }, words(which), cancelled);
}

async function purge(page) {
  const said = await get(page.topic('overview'));
  if (said.error) return say(said.error, true);
  const { enqueued, scheduled, pending } = said.value.sizes;
  const count = enqueued + scheduled + pending;
  if (!count) return say('Nothing waits in this queue.');
  await ask('purge', count, { queue: page.asked.queue }, (now) => [
    `Cancel all ${plural(now, 'task')} that have not begun?`,
    'All that is ready, scheduled or waiting in this queue, of any name. What runs goes on. This cannot be undone.',
    `Cancel ${plural(now, 'task')}`], cancelled);
}

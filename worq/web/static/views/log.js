// Who did what to the queue.
import { h } from '../dom.js';
import { number, time } from '../words.js';
import { empty } from './parts.js';

export const title = () => 'Log';
export const topics = (page) => [page.topic('log')];

export function render(page) {
  const said = page.seen[page.topic('log')];
  if (!said?.value) return empty(said);
  return [
    h('h1', {}, 'Log'),
    h('p', { class: 'lead' }, said.value.length
      ? 'What people did to this queue, the last first.'
      : 'Nobody has cancelled or purged anything yet, as far as they said who they are.'),
    said.value.length ? h('table', { class: 'card stack' },
      h('caption', { class: 'hidden' }, 'Acts'),
      h('thead', {}, h('tr', {}, ['When', 'Who', 'What', 'Tasks', 'About'].map((text) => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, said.value.map((act) => h('tr', {},
        h('td', { 'data-label': 'When' }, time(act.moment)), h('td', { 'data-label': 'Who' }, act.who),
        h('td', { 'data-label': 'What' }, act.what), h('td', { 'data-label': 'Tasks', class: 'num' }, number(act.tasks)),
        h('td', { 'data-label': 'About', class: 'mono wrap' }, act.about || '–'))))) : null,
  ];
}

// What failed lately, by name and error, and running it again.
import { h } from '../dom.js';
import { ask } from '../dialog.js';
import { ago, number, plural, state } from '../words.js';
import { empty, nameField, taskLink } from './parts.js';

const topicOf = (page) => page.topic('failed', { name: page.asked.name || '' });

export const title = () => 'Failed';
export const topics = (page) => [topicOf(page)];

export function render(page) {
  const said = page.seen[topicOf(page)];
  return [
    h('h1', {}, 'Failed'),
    form(page),
    said?.value ? list(page, said) : empty(said),
  ];
}

function form(page) {
  const apply = (event) => {
    event.preventDefault();
    page.go(page.link('failed', { name: event.target.elements.name.value.trim() }));
  };
  return h('form', { class: 'row', role: 'search', onsubmit: apply },
    nameField(page),
    h('button', { type: 'submit' }, 'Filter'),
    page.asked.name ? h('a', { href: page.link('failed') }, 'all names') : null,
    h('a', { class: 'end', href: page.link('tasks', { state: 'failed', name: page.asked.name }) }, 'one by one'));
}

function list(page, said) {
  if (!said.value.length) return h('p', { class: 'lead' }, 'Nothing has failed lately.');
  return said.value.map((group) => one(page, group, said.now));
}

function one(page, group, now) {
  const run = (downstream) => () => revive(page, group.name, group.ids, downstream);
  return h('section', { class: 'card failed', key: JSON.stringify([group.name, group.state, group.error, group.origin]) },
    h('div', { class: 'row' },
      h('h2', { class: 'wrap' }, `${group.name} `, h('span', { class: 'num' }, `×${number(group.tasks)}`)), state(group.state),
      page.may('revive') && !group.origin ? h('span', { class: 'row end' },
        h('button', { type: 'button', onclick: run(false) }, 'Run again …'),
        group.followers ? h('button', { type: 'button', onclick: run(true) }, `With ${plural(group.followers, 'follower')} …`) : null) : null),
    h('p', { class: 'mono wrap' }, group.error || '(it tells nothing)'),
    group.origin ? h('p', {}, 'Because of ', taskLink(page, group.origin)) : null,
    h('p', { class: 'dim' },
      'The first ', ago(group.first, now), ' ago, the last ', ago(group.last, now), ' ago.',
      group.followers ? ` ${plural(group.followers, 'more task')} failed because of ${group.tasks === 1 ? 'it' : 'them'}.` : ''),
    h('details', {}, h('summary', {}, plural(group.tasks, 'task')), h('ul', {},
      group.ids.slice(0, 50).map((id) => h('li', { key: id }, taskLink(page, id))),
      group.tasks > 50 ? h('li', {}, `and ${number(group.tasks - 50)} more`) : null)));
}

const WHY = {
  gone: 'nothing of it is kept that could be run again', live: 'it has not ended', unknown: 'the queue does not know it',
};

// Runs tasks of a name again, if somebody agrees.
export function revive(page, name, ids, downstream) {
  const many = (count) => (ids.length === 1 ? name : `${plural(count, 'task')} ${name}`);
  return ask('revive', ids.length, { queue: page.asked.queue, ids, downstream }, (count) => [
    `Run ${many(count)} again?`,
    `With the arguments that ${count === 1 ? 'it' : 'they'} had`
      + `${downstream ? ', and all that failed because of it' : ''}. Whoever has read the failure keeps it until it is asked again.`,
    'Run again'], (said) => {
    const left = Object.entries(said.words).filter(([word]) => word !== 'revived')
      .map(([word, count]) => `${number(count)}: ${WHY[word] || word}`);
    return `${plural(said.done, 'task')} will run again.${left.length ? ` Not ${left.join(', ')}.` : ''}`;
  });
}

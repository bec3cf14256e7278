// What several views show.
import { h } from '../dom.js';

// While nothing is known yet.
export const empty = (said) => (said?.error ? null : h('p', { class: 'lead' }, 'Looking …'));

// A task as a link.
export function taskLink(page, id, name = '') {
  return h('a', { href: page.link('task', { id }), class: 'task', title: id },
    name ? `${name} ` : '', h('span', { class: name ? 'id dim' : 'id' }, id));
}

// A text in which ids stand as [queue:id], with these as links.
export function linked(page, text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(/\[([^\]:[]+):([^\]\n]+)\]/g)) {
    const [all, queue, id] = found;
    if (!page.me.queues.includes(queue)) continue;
    const asked = { id, queue: queue === page.me.queues[0] ? '' : queue };
    parts.push(text.slice(at, found.index),
      h('a', { href: page.link('task', asked), class: 'id' }, id));
    at = found.index + all.length;
  }
  parts.push(text.slice(at));
  return parts;
}

// Where a name of tasks is typed that the address filters by.
export const nameField = (page) => h('label', {}, 'Name ', h('input', {
  name: 'name', value: page.asked.name || '', placeholder: 'mail.send, mail.*', 'data-search': true,
  autocomplete: 'off', spellcheck: 'false', key: page.asked.name || '',
}));

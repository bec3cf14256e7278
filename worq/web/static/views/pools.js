// The pools, and what their workers do.
import { h } from '../dom.js';
import { plural, span } from '../words.js';
import { empty, taskLink } from './parts.js';

export const title = () => 'Pools';
export const topics = (page) => [page.topic('pools')];

export function render(page) {
  const said = page.seen[page.topic('pools')];
  if (!said?.value) return empty(said);
  const alive = said.value.filter((pool) => pool.alive);
  return [
    h('h1', {}, 'Pools'),
    h('p', { class: 'lead' }, alive.length
      ? `${plural(alive.length, 'pool')} with ${plural(sum(alive, 'size'), 'worker')}, `
        + `${sum(alive, 'busy')} of them busy.`
      : 'No pool works on this queue. Start one: worq worker MODULE:SPACE'),
    said.value.map((pool) => one(page, pool)),
  ];
}

const sum = (pools, field) => pools.reduce((all, pool) => all + pool[field], 0);

function one(page, pool) {
  const busy = pool.workers.filter((worker) => worker.id);
  return h('section', { class: `card pool${pool.alive ? '' : ' silent'}`, key: pool.id },
    h('h2', {}, `${pool.host || 'somewhere'} `, h('span', { class: 'dim' },
      `${pool.kind} pool, process ${pool.pid}`)),
    h('p', { class: 'facts' },
      pool.alive ? `${pool.busy} of ${plural(pool.size, 'worker')} busy` : h('strong', { class: 'bad' }, 'silent'),
      `, heard of ${span(pool.seen)} ago`, pool.version ? `, WorQ ${pool.version}` : '',
      pool.tasks ? `, ${plural(pool.tasks.length, 'task')}` : ''),
    pool.broken ? h('p', { class: 'trouble' }, `None of its workers could begin: ${pool.broken}`) : null,
    pool.blocked ? h('p', { class: 'trouble' }, pool.blocked) : null,
    pool.stuck ? h('p', { class: 'trouble' }, 'All of its workers wait for other tasks, so that none '
      + 'is left to run those. Start another pool; let tasks return Deferreds, or take them as arguments.') : null,
    busy.length ? h('table', { class: 'stack' },
      h('caption', { class: 'hidden' }, `Workers of ${pool.host} that run something`),
      h('thead', {}, h('tr', {}, ['Worker', 'Task', 'For', 'Waits for'].map((text) => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, busy.map((worker) => h('tr', { key: worker.number },
        h('td', { 'data-label': 'Worker' }, worker.number, worker.state === 'waiting' ? ' (waiting)' : ''),
        h('td', { 'data-label': 'Task' }, taskLink(page, worker.id, worker.name),
          worker.behind.length ? h('span', { class: 'dim' }, ` and ${worker.behind.length} behind it`) : null),
        h('td', { 'data-label': 'For', class: 'num' }, span(worker.seconds)),
        h('td', { 'data-label': 'Waits for' }, worker.waits_for ? taskLink(page, worker.waits_for) : '–'))))) : null,
    pool.tasks?.length ? h('details', {}, h('summary', {}, 'Tasks that it knows'),
      h('p', { class: 'mono wrap' }, pool.tasks.join('  '))) : null);
}

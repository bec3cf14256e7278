// Schedules: when they run, and what somebody does to them.
import { h } from '../dom.js';
import { ask } from '../dialog.js';
import { number, span, time } from '../words.js';
import { empty, taskLink } from './parts.js';

const topicOf = (page) => page.topic('schedules');
const HEADS = ['Name', 'Calls', 'When', 'Next', 'Last', 'Runs', 'Missed', ''];

export const title = () => 'Schedules';
export const topics = (page) => [topicOf(page)];

export function render(page) {
  const said = page.seen[topicOf(page)];
  if (!said?.value) return empty(said);
  return [
    h('h1', {}, 'Schedules'),
    said.value.length ? h('table', { class: 'card stack' },
      h('caption', { class: 'hidden' }, 'Schedules'),
      h('thead', {}, h('tr', {}, HEADS.map((text) => (text ? h('th', { scope: 'col' }, text) : h('td', {}))))),
      h('tbody', {}, said.value.map((one) => row(page, one, said.now))))
      : h('p', { class: 'lead' }, 'There is none. Code declares them, as @space.task(cron=\'0 3 * * *\'); '
        + 'or broker.schedules.set() makes one.'),
  ];
}

function row(page, one, now) {
  const next = one.paused ? h('strong', {}, `paused by ${one.paused}`)
    : one.next === null ? 'never' : [time(one.next), h('span', { class: 'dim' }, one.next > now ? ` in ${span(one.next - now)}` : ' now')];
  return h('tr', { key: one.name },
    h('th', { scope: 'row', class: 'wrap', 'data-label': 'Name' }, one.shown,
      one.orphaned ? h('span', { class: 'bad' }, ' (no pool declares it)') : null,
      one.problem ? h('span', { class: 'bad' }, ` ${one.problem}`) : null),
    h('td', { class: 'mono wrap', 'data-label': 'Calls' }, one.task),
    h('td', { 'data-label': 'When' }, one.when, h('span', { class: 'dim' }, ` ${one.zone}`)),
    h('td', { 'data-label': 'Next' }, next),
    h('td', { 'data-label': 'Last' }, one.last === null ? '–' : one.run ? [time(one.last), ' ', taskLink(page, one.run)] : time(one.last)),
    h('td', { class: 'num', 'data-label': 'Runs' }, number(one.fired)),
    h('td', { class: 'num', 'data-label': 'Missed' }, number(one.missed), one.skipped ? `, ${number(one.skipped)} skipped` : ''),
    h('td', { 'data-label': '' }, buttons(page, one)));
}

function buttons(page, one) {
  if (!page.may('schedule-run')) return '–';
  const act = (what, label, text, done) => h('button', {
    type: 'button', class: what === 'forget' ? 'danger' : '', 'aria-label': `${label} …: ${one.shown}`,
    onclick: () => ask(`schedule-${what}`, 1, { queue: page.asked.queue, name: one.name },
      () => [`${label}: ${one.shown}?`, text, label], () => done),
  }, `${label} …`);
  return h('span', { class: 'row' },
    act('run', 'Run now', 'A run is put at once, beside those at its times.', 'It has a run.'),
    one.paused ? act('resume', 'Resume', 'What was missed has a run as the schedule says.', 'It goes on.')
      : act('pause', 'Pause', 'It has no run until somebody resumes it.', 'It is paused.'),
    act('forget', 'Forget', 'There will be none of this name; if code declares it, it comes back with the next pool.', 'It is forgotten.'));
}

// Numbers, spans, moments and states in words.
import { h } from './dom.js';

export const LIVE = ['processing', 'enqueued', 'pending', 'scheduled'];
export const OVER = ['failed', 'expired', 'cancelled', 'success'];
export const NAMES = {
  processing: 'running', enqueued: 'ready', pending: 'waiting', scheduled: 'scheduled',
  failed: 'failed', expired: 'expired', cancelled: 'cancelled', success: 'succeeded',
};
const MARKS = {
  processing: '▶', enqueued: '≡', pending: '…', scheduled: '◷', failed: '✕', expired: '⊘',
  cancelled: '−', success: '✓', unknown: '?',
};

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const number = (value) => (value === null || value === undefined ? '–' : whole.format(value));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

// Seconds, in their two largest units.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 0.001) return seconds > 0 ? '<1 ms' : '0 s';
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const all = Math.round(seconds);
  const units = [[Math.floor(all / 86400), 'd'], [Math.floor(all / 3600) % 24, 'h'],
    [Math.floor(all / 60) % 60, 'min'], [all % 60, 's']];
  const first = units.findIndex(([count]) => count);
  return units.slice(first, first + 2).filter(([count]) => count)
    .map(([count, unit]) => `${whole.format(count)} ${unit}`).join(' ');
}

// Bytes, in thousands.
export function bytes(count) {
  if (count === null || count === undefined) return '–';
  for (const unit of ['bytes', 'kB', 'MB', 'GB']) {
    if (count < 1000 || unit === 'GB') {
      return `${unit === 'bytes' || count >= 99.5 ? whole.format(count) : count.toFixed(1)} ${unit}`;
    }
    count /= 1000;
  }
  return '';
}

export const percent = (part, all) => {
  if (!all) return '–';
  const value = 100 * part / all;
  return value === 0 ? '0 %' : value < 0.1 ? '<0.1 %' : `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
};

// A moment, in seconds since the epoch, as the time of day, with the day if that is another one.
export function clock(moment) {
  const at = new Date(moment * 1000);
  const time = at.toTimeString().slice(0, 8);
  return at.toDateString() === new Date().toDateString() ? time
    : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

const two = (value) => String(value).padStart(2, '0');

// How long ago it is, with the moment itself as its title.
export function ago(moment, now) {
  if (moment === null || moment === undefined) return '–';
  return h('time', { datetime: new Date(moment * 1000).toISOString(), title: clock(moment) },
    span(Math.max(now - moment, 0)));
}

export function time(moment) {
  if (moment === null || moment === undefined) return '–';
  return h('time', { datetime: new Date(moment * 1000).toISOString() }, clock(moment));
}

// How a task stands: a mark, a colour and a word.
export function state(word) {
  const name = NAMES[word] || word;
  return h('span', { class: `state s-${word}`, title: name === word ? null : word },
    h('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[word] || '·'), name);
}

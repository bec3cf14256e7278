// Asks before something is done, says what was done.
import { h } from './dom.js';
import { act } from './api.js';

// Whether somebody agrees to it.
export function confirm(title, text, label) {
  return new Promise((resolve) => {
    const close = (answer) => () => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h('dialog', { 'aria-labelledby': 'asked' },
      h('h2', { id: 'asked' }, title), h('p', {}, text),
      h('div', { class: 'row end' },
        h('button', { type: 'button', onclick: close(false) }, 'Leave it'),
        h('button', { type: 'button', class: 'danger', onclick: close(true) }, label)));
    dialog.addEventListener('cancel', close(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Tells, also those who hear the page.
export function say(text, bad = false) {
  const said = document.getElementById('said');
  const one = h('div', { class: bad ? 'bad' : '' }, text);
  said.replaceChildren(one);
  setTimeout(() => one.remove(), bad ? 12000 : 6000);
}

// Asks, does it, and asks again if meanwhile it would be done to another number of tasks.
// `words(count)`: the title, the text and the label of the question.
export async function ask(what, count, asked, words, done) {
  for (;;) {
    if (!await confirm(...words(count))) return null;
    const said = await act(what, { ...asked, seen: count });
    if (said.status === 409) {
      say(`Nothing was done: ${said.error}.`, true);
      count = said.count;
      continue;
    }
    if (said.error) say(`It was not done: ${said.error}`, true);
    else say(done(said));
    return said;
  }
}

// Questions to the server, and acts.

const at = (path) => new URL(`../api/${path}`, import.meta.url);

// {value, now} or {error, status}; status 0: the server cannot be reached.
export async function get(path) {
  try {
    const answer = await fetch(at(path), { cache: 'no-store' });
    const said = await answer.json();
    return { now: Date.now() / 1000, ...said };
  } catch (error) {
    return { error: 'the server cannot be reached', status: 0, now: Date.now() / 1000 };
  }
}

// What was done, or {error, status}; and {count} if it is another number than was seen.
export async function act(what, asked) {
  try {
    const answer = await fetch(at(`act/${what}`), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-WorQ': '1' },
      body: JSON.stringify(asked),
    });
    return { status: answer.status, ...await answer.json() };
  } catch (error) {
    return { error: 'the server cannot be reached', status: 0 };
  }
}

"""Scripts for shells: what they complete, and that shells can read them."""
import shutil
import subprocess

from worq.cli import index

from test.cli.support import Words, worq


class Completions(Words):

    def complete(self, *words):
        """What bash offers after these words, of which the last one is not complete."""
        script = worq('completion', 'bash').out
        line = ' '.join(f"'{word}'" for word in words)
        run = (f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _worq; '
               'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(['bash', '--norc', '-c', run], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout.split()

    def test_bash(self):
        """Commands, options of the command, and words of some; nothing in place of a value."""
        self.assertEqual(self.complete('worq', ''), list(index.NAMES))
        self.assertEqual(self.complete('worq', 'pu'), ['purge'])
        self.assertEqual(self.complete('worq', 'worker', 'tasks:x', '--rel'), ['--reload'])
        self.assertEqual(self.complete('worq', '--url', 'x', 'purge', '--y'), ['--yes'])
        self.assertEqual(self.complete('worq', 'help', 'exp'), ['explain'])
        self.assertEqual(self.complete('worq', 'completion', ''), ['bash', 'zsh', 'fish'])
        self.assertEqual(self.complete('worq', 'tasks', 'f'), ['failed'])
        self.assertEqual(self.complete('worq', 'info', '--url', ''), [])

    def test_others(self):
        """zsh and fish get scripts that they can read, where they are here to try; each option of
        each command is in them."""
        for shell in ['zsh', 'fish']:
            script = worq('completion', shell).out
            for name in index.NAMES:
                self.assertIn(name, script)
            self.assertIn('reload', script)
            if shutil.which(shell):
                done = subprocess.run([shell, '-n'], input=script, text=True, timeout=60,
                                      capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_unknown_shell(self):
        """Another shell is a mistake."""
        self.refused('no such shell', 'completion', 'tcsh')



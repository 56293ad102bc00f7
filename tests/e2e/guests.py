# SPDX-License-Identifier: GPL-2.0-only
"""What the end-to-end tests that run in guests share."""

import re
import subprocess
import sys

import e2e

sys.path.insert(0, f'{e2e.TOP}/tests/vm')
from guest import Guest, SHELL     # noqa: E402,F401  # pylint: disable=unused-import

# For scripts: lines "ok ..." and "not ok ..." are verdicts.
VERDICTS = r'''
# expect NAME STATUS TEXT COMMAND...: it ends so and says this
expect() {
	name=$1 want=$2 text=$3
	shift 3
	"$@" >/tmp/said 2>&1
	got=$?
	if [ $got = $want ] && grep -qF -- "$text" /tmp/said; then
		echo "ok $name"
	else
		echo "not ok $name"
		echo "    exit $got, wanted $want with '$text':"
		sed 's/^/    /' /tmp/said
	fi
}
# truth NAME CONDITION
truth() {
	name=$1
	shift
	if eval "$*" >/tmp/said 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		echo "    $*"
		sed 's/^/    /' /tmp/said
	fi
}
# Until it holds, at most 20 s.
until_true() {
	tries=0
	until eval "$*" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || return 1
		usleep 100000
	done
}
'''


def module(kernel):
    """Path of blkship.ko for this kernel."""
    build = subprocess.run([f'{e2e.TOP}/tests/vm/build-module', kernel], check=True,
                           stdout=subprocess.PIPE, text=True)
    return build.stdout.strip().splitlines()[-1]


class Script:
    """Verdicts of a guest, as lines come from it."""

    def __init__(self, t, prefix):
        self.t, self.prefix, self.verdicts = t, prefix, 0

    def line(self, text):
        found = re.match(r'(ok|not ok) (.*)', text.rstrip())
        if found:
            self.verdicts += 1
            self.t.ok(f'{self.prefix}: {found[2]}', found[1] == 'ok')
        else:
            print(text.rstrip(), flush=True)

    def lines(self, text):
        for line in text.splitlines():
            self.line(line)


def run_script(t, kernel, name, script, timeout_s=200, **more):
    """Run @script in a guest, which gets @more; it has to end well and to say something."""
    said = Script(t, kernel)
    with Guest(script, kernel, on_line=said.line, **more) as guest:
        result = guest.wait(timeout_s)
    t.ok(f'{kernel}: guest {name} ends well', result.ok and said.verdicts, result.reason)

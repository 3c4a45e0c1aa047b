
use builtin;
use str;

set edit:completion:arg-completer[hotrun] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'hotrun'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'hotrun'= {
            cand -w 'Watch this file or directory (repeatable)'
            cand --watch 'Watch this file or directory (repeatable)'
            cand -i 'Ignore files that match this glob (repeatable)'
            cand --ignore 'Ignore files that match this glob (repeatable)'
            cand -e 'Watch only files with these extensions'
            cand --exts 'Watch only files with these extensions'
            cand --on 'Run a different action when matching files change (repeatable)'
            cand --source 'Also treat each line that a command prints as a change (repeatable)'
            cand --debounce 'How long to wait for further changes before a build'
            cand --poll 'Poll for changes instead of relying on file events'
            cand -b 'Build with this shell command before COMMAND starts'
            cand --build 'Build with this shell command before COMMAND starts'
            cand --when-busy 'What to do when files change during a build'
            cand --adopt 'Manage the sockets that the program opens itself'
            cand --keep-alive 'Whether to keep connections open across a reload'
            cand -l 'Open this socket and pass it to the program'
            cand --listen 'Open this socket and pass it to the program'
            cand --listen-pid 'Whether to set `LISTEN_PID` for the program'
            cand --fresh 'From a change on, let new connections wait for the new version'
            cand --warm-up 'Warm up a new generation that is ready, before it goes live'
            cand --ready-timeout 'How long a new generation may take to become ready'
            cand --alive 'Replace the live generation when it no longer works'
            cand --watchdog 'Treat the program as hung after this long without a watchdog ping'
            cand --share 'Give a new generation only a share of new connections at first'
            cand --share-every 'Take the next step of --share after this time'
            cand --share-check 'Take a step of --share only if this shell command succeeds'
            cand --preview 'Another address that always leads to the newest ready generation'
            cand --rollback-within 'Roll back if the new version crashes within this time'
            cand --keep 'Keep the old generation for this long after the switch'
            cand --stop-timeout 'How long the old generation may take to stop'
            cand --instances 'Run this many instances of the program on the same addresses'
            cand -E 'Set a variable for the program (repeatable)'
            cand --env 'Set a variable for the program (repeatable)'
            cand --env-file 'Read environment variables for the program from this file'
            cand --env-from 'Read environment variables for the program from keys in etcd'
            cand --hook 'Run a shell command when something happens to a generation (repeatable)'
            cand -C 'Run in this directory'
            cand --workdir 'Run in this directory'
            cand --stdin 'Where keyboard input goes'
            cand --ui 'How to show hotrun''s own output'
            cand --color 'When to use colors in hotrun''s own output'
            cand --log 'Log hotrun''s decisions to this file, for bug reports (overwrites it)'
            cand --generate 'Print shell completions or the man page'
            cand --ready 'How to detect that a new generation is ready'
            cand --stop-signal 'Signal that asks the old generation to stop'
            cand --no-vcs-ignore 'Watch files that version control ignores'
            cand --no-error-page 'Hold requests instead of answering 503 when no version is running'
            cand --stop-first 'Stop the old generation before the new one starts'
            cand -c 'Clear the terminal before each build'
            cand --clear 'Clear the terminal before each build'
            cand --why 'Show which files triggered a build'
            cand -q 'Show only failures (overrides `--verbose`)'
            cand --quiet 'Show only failures (overrides `--verbose`)'
            cand -v 'Show more details'
            cand --verbose 'Show more details'
            cand --doctor 'Check this system and suggest fixes'
            cand -h 'Print help: common options with `-h`, all with `--help`'
            cand --help 'Print help: common options with `-h`, all with `--help`'
            cand -V 'Print the version'
            cand --version 'Print the version'
        }
    ]
    $completions[$command]
}

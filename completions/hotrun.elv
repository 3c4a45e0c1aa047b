
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
            cand -e 'Watch only files with these extensions, separated by commas'
            cand --exts 'Watch only files with these extensions, separated by commas'
            cand --on 'Let changes of some files do something else (repeatable)'
            cand --debounce 'How long to let changes settle before a build'
            cand --poll 'Look for changes instead of being told of them'
            cand -b 'Build with this shell line before COMMAND is started'
            cand --build 'Build with this shell line before COMMAND is started'
            cand --when-busy 'What a change does to a build that runs'
            cand --adopt 'Take over the sockets that the program opens by itself'
            cand -l 'Hold this socket open and pass it to the program (repeatable)'
            cand --listen 'Hold this socket open and pass it to the program (repeatable)'
            cand --listen-pid 'Whether to set `LISTEN_PID` for the program'
            cand --ready 'How to know that a new generation is ready'
            cand --ready-timeout 'How long a new generation may take to be ready'
            cand --watchdog 'Take a program for hung that gives no sign of life for this long'
            cand --go-back-within 'How soon after its switch a crash leads back to the generation before it'
            cand --stop-signal 'The signal that asks the old generation to finish'
            cand --stop-timeout 'How long the old generation may take to finish before it is killed'
            cand -E 'Set a variable in the program''s environment (repeatable)'
            cand --env 'Set a variable in the program''s environment (repeatable)'
            cand --env-file 'Read variables for the program from this file'
            cand -C 'Work in this directory'
            cand --workdir 'Work in this directory'
            cand --stdin 'Who gets what is typed, on a live terminal'
            cand --ui 'How to show what happens'
            cand --color 'When to use colours in hotrun''s own lines'
            cand --generate 'Print shell completions or the man page'
            cand --no-vcs-ignore 'Watch files that version control ignores, too'
            cand --no-error-page 'Let requests wait while nothing serves and nothing is on its way'
            cand --stop-first 'Stop the old generation before the new one starts'
            cand -c 'Clear the terminal before a build'
            cand --clear 'Clear the terminal before a build'
            cand --why 'Name the files that caused a build'
            cand -q 'Show failures only'
            cand --quiet 'Show failures only'
            cand -v 'Show more detail'
            cand --verbose 'Show more detail'
            cand --doctor 'Say what of hotrun works here, and what to do about what does not'
            cand -h 'Print help: `-h` in short, `--help` in full'
            cand --help 'Print help: `-h` in short, `--help` in full'
            cand -V 'Print the version'
            cand --version 'Print the version'
        }
    ]
    $completions[$command]
}

complete -c hotrun -s w -l watch -d 'Watch this file or directory (repeatable)' -r -F
complete -c hotrun -s i -l ignore -d 'Ignore files that match this glob (repeatable)' -r
complete -c hotrun -s e -l exts -d 'Watch only files with these extensions' -r
complete -c hotrun -l on -d 'Run a different action when matching files change (repeatable)' -r
complete -c hotrun -l source -d 'Also treat each line that a command prints as a change (repeatable)' -r -f -a "(__fish_complete_command)"
complete -c hotrun -l debounce -d 'How long to wait for further changes before a build' -r
complete -c hotrun -l poll -d 'Poll for changes instead of relying on file events' -r
complete -c hotrun -s b -l build -d 'Build with this shell command before COMMAND starts' -r -f -a "(__fish_complete_command)"
complete -c hotrun -l when-busy -d 'What to do when files change during a build' -r -f -a "cancel\t'Cancel the build and build the new sources'
queue\t'Let the build finish, then build again'"
complete -c hotrun -l adopt -d 'Manage the sockets that the program opens itself' -r -f -a "auto\t'If the system allows it'
never\t'Never'"
complete -c hotrun -l keep-alive -d 'Whether to keep connections open across a reload' -r -f -a "auto\t'If the system allows it'
never\t'Never'"
complete -c hotrun -s l -l listen -d 'Open this socket and pass it to the program' -r
complete -c hotrun -l listen-pid -d 'Whether to set `LISTEN_PID` for the program' -r -f -a "auto\t'Unless COMMAND is a known wrapper'
always\t'Always'
never\t'Never'"
complete -c hotrun -l fresh -d 'From a change on, let new connections wait for the new version' -r -f -a "on\t'If the new version fails, connect them to the old one'
strict\t'If the new version fails, answer 503'
off\t'Do not let them wait'"
complete -c hotrun -l warm-up -d 'Warm up a new generation that is ready, before it goes live' -r
complete -c hotrun -l ready-timeout -d 'How long a new generation may take to become ready' -r
complete -c hotrun -l alive -d 'Replace the live generation when it no longer works' -r
complete -c hotrun -l watchdog -d 'Treat the program as hung after this long without a watchdog ping' -r
complete -c hotrun -l share -d 'Give a new generation only a share of new connections at first' -r
complete -c hotrun -l share-every -d 'Take the next step of --share after this time' -r
complete -c hotrun -l share-check -d 'Take a step of --share only if this shell command succeeds' -r -f -a "(__fish_complete_command)"
complete -c hotrun -l preview -d 'Another address that always leads to the newest ready generation' -r
complete -c hotrun -l rollback-within -d 'Roll back if the new version crashes within this time' -r
complete -c hotrun -l keep -d 'Keep the old generation for this long after the switch' -r
complete -c hotrun -l stop-timeout -d 'How long the old generation may take to stop' -r
complete -c hotrun -l instances -d 'Run this many instances of the program on the same addresses' -r
complete -c hotrun -s E -l env -d 'Set a variable for the program (repeatable)' -r
complete -c hotrun -l env-file -d 'Read environment variables for the program from this file' -r -F
complete -c hotrun -l env-from -d 'Read environment variables for the program from keys in etcd' -r
complete -c hotrun -l hook -d 'Run a shell command when something happens to a generation (repeatable)' -r
complete -c hotrun -s C -l workdir -d 'Run in this directory' -r -f -a "(__fish_complete_directories)"
complete -c hotrun -l stdin -d 'Where keyboard input goes' -r -f -a "hotrun\t'To hotrun, as keys; the program has no input'
program\t'To the newest generation; hotrun handles Ctrl-C and Ctrl-Z'"
complete -c hotrun -l ui -d 'How to show hotrun\'s own output' -r -f -a "auto\t'`live` on a terminal, `plain` otherwise'
live\t'A status footer below the output, plus keyboard shortcuts'
plain\t'One line per event'
json\t'One JSON object per line'
off\t'Only the program\'s output'"
complete -c hotrun -l color -d 'When to use colors in hotrun\'s own output' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hotrun -l log -d 'Log hotrun\'s decisions to this file, for bug reports (overwrites it)' -r -F
complete -c hotrun -l generate -d 'Print shell completions or the man page' -r -f -a "bash\t'Completions for bash'
zsh\t'Completions for zsh'
fish\t'Completions for fish'
powershell\t'Completions for PowerShell'
elvish\t'Completions for elvish'
man\t'The manual page, in roff'"
complete -c hotrun -l ready -d 'How to detect that a new generation is ready' -r -f -a "auto\t''
listen\t''
notify\t''
http:/\t''
tcp\t''
log:\t''
exec:\t''
delay:\t''"
complete -c hotrun -l stop-signal -d 'Signal that asks the old generation to stop' -r -f -a "TERM\t''
INT\t''
QUIT\t''
HUP\t''
USR1\t''
USR2\t''"
complete -c hotrun -l no-vcs-ignore -d 'Watch files that version control ignores'
complete -c hotrun -l no-error-page -d 'Hold requests instead of answering 503 when no version is running'
complete -c hotrun -l stop-first -d 'Stop the old generation before the new one starts'
complete -c hotrun -s c -l clear -d 'Clear the terminal before each build'
complete -c hotrun -l why -d 'Show which files triggered a build'
complete -c hotrun -s q -l quiet -d 'Show only failures (overrides `--verbose`)'
complete -c hotrun -s v -l verbose -d 'Show more details'
complete -c hotrun -l doctor -d 'Check this system and suggest fixes'
complete -c hotrun -s h -l help -d 'Print help: common options with `-h`, all with `--help`'
complete -c hotrun -s V -l version -d 'Print the version'

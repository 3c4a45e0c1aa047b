complete -c hotrun -s w -l watch -d 'Watch this file or directory (repeatable)' -r -F
complete -c hotrun -s i -l ignore -d 'Ignore files that match this glob (repeatable)' -r
complete -c hotrun -s e -l exts -d 'Watch only files with these extensions, separated by commas' -r
complete -c hotrun -l on -d 'Let changes of some files do something else (repeatable)' -r
complete -c hotrun -l debounce -d 'How long to let changes settle before a build' -r
complete -c hotrun -l poll -d 'Look for changes instead of being told of them' -r
complete -c hotrun -s b -l build -d 'Build with this shell line before COMMAND is started' -r -f -a "(__fish_complete_command)"
complete -c hotrun -l when-busy -d 'What a change does to a build that runs' -r -f -a "cancel\t'Give it up and build the newer sources at once'
queue\t'Let it run to its end, and build again after it'"
complete -c hotrun -l adopt -d 'Take over the sockets that the program opens by itself' -r -f -a "auto\t'Where the system allows it'
never\t'Not at all'"
complete -c hotrun -s l -l listen -d 'Hold this socket open and pass it to the program (repeatable)' -r
complete -c hotrun -l listen-pid -d 'Whether to set `LISTEN_PID` for the program' -r -f -a "auto\t'Unless COMMAND is a wrapper that is known to start the program as its child'
always\t'Always'
never\t'Never'"
complete -c hotrun -l ready -d 'How to know that a new generation is ready' -r
complete -c hotrun -l ready-timeout -d 'How long a new generation may take to be ready' -r
complete -c hotrun -l watchdog -d 'Take a program for hung that gives no sign of life for this long' -r
complete -c hotrun -l go-back-within -d 'How soon after its switch a crash leads back to the generation before it' -r
complete -c hotrun -l stop-signal -d 'The signal that asks the old generation to finish' -r
complete -c hotrun -l stop-timeout -d 'How long the old generation may take to finish before it is killed' -r
complete -c hotrun -s E -l env -d 'Set a variable in the program\'s environment (repeatable)' -r
complete -c hotrun -l env-file -d 'Read variables for the program from this file' -r -F
complete -c hotrun -s C -l workdir -d 'Work in this directory' -r -f -a "(__fish_complete_directories)"
complete -c hotrun -l stdin -d 'Who gets what is typed, on a live terminal' -r -f -a "hotrun\t'hotrun, as keys; the program has nothing to read'
program\t'The newest generation; Ctrl-C and Ctrl-Z stay hotrun\'s'"
complete -c hotrun -l ui -d 'How to show what happens' -r -f -a "auto\t'Live on a terminal, else plain'
live\t'A footer that is kept up to date, the output above it, and keys'
plain\t'One line for each fact'
json\t'One JSON object a line'
off\t'Nothing but the program\'s output'"
complete -c hotrun -l color -d 'When to use colours in hotrun\'s own lines' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c hotrun -l generate -d 'Print shell completions or the man page' -r -f -a "bash\t'Completions for bash'
zsh\t'Completions for zsh'
fish\t'Completions for fish'
powershell\t'Completions for PowerShell'
elvish\t'Completions for elvish'
man\t'The manual page, in roff'"
complete -c hotrun -l no-vcs-ignore -d 'Watch files that version control ignores, too'
complete -c hotrun -l no-error-page -d 'Let requests wait while nothing serves and nothing is on its way'
complete -c hotrun -l stop-first -d 'Stop the old generation before the new one starts'
complete -c hotrun -s c -l clear -d 'Clear the terminal before a build'
complete -c hotrun -l why -d 'Name the files that caused a build'
complete -c hotrun -s q -l quiet -d 'Show failures only'
complete -c hotrun -s v -l verbose -d 'Show more detail'
complete -c hotrun -l doctor -d 'Say what of hotrun works here, and what to do about what does not'
complete -c hotrun -s h -l help -d 'Print help: `-h` in short, `--help` in full'
complete -c hotrun -s V -l version -d 'Print the version'

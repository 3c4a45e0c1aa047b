
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'hotrun' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'hotrun'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'hotrun' {
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Watch this file or directory (repeatable)')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Watch this file or directory (repeatable)')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Ignore files that match this glob (repeatable)')
            [CompletionResult]::new('--ignore', '--ignore', [CompletionResultType]::ParameterName, 'Ignore files that match this glob (repeatable)')
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Watch only files with these extensions')
            [CompletionResult]::new('--exts', '--exts', [CompletionResultType]::ParameterName, 'Watch only files with these extensions')
            [CompletionResult]::new('--on', '--on', [CompletionResultType]::ParameterName, 'Run a different action when matching files change (repeatable)')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Also treat each line that a command prints as a change (repeatable)')
            [CompletionResult]::new('--debounce', '--debounce', [CompletionResultType]::ParameterName, 'How long to wait for further changes before a build')
            [CompletionResult]::new('--poll', '--poll', [CompletionResultType]::ParameterName, 'Poll for changes instead of relying on file events')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Build with this shell command before COMMAND starts')
            [CompletionResult]::new('--build', '--build', [CompletionResultType]::ParameterName, 'Build with this shell command before COMMAND starts')
            [CompletionResult]::new('--when-busy', '--when-busy', [CompletionResultType]::ParameterName, 'What to do when files change during a build')
            [CompletionResult]::new('--adopt', '--adopt', [CompletionResultType]::ParameterName, 'Manage the sockets that the program opens itself')
            [CompletionResult]::new('--keep-alive', '--keep-alive', [CompletionResultType]::ParameterName, 'Whether to keep connections open across a reload')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Open this socket and pass it to the program')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Open this socket and pass it to the program')
            [CompletionResult]::new('--listen-pid', '--listen-pid', [CompletionResultType]::ParameterName, 'Whether to set `LISTEN_PID` for the program')
            [CompletionResult]::new('--fresh', '--fresh', [CompletionResultType]::ParameterName, 'From a change on, let new connections wait for the new version')
            [CompletionResult]::new('--warm-up', '--warm-up', [CompletionResultType]::ParameterName, 'Warm up a new generation that is ready, before it goes live')
            [CompletionResult]::new('--ready-timeout', '--ready-timeout', [CompletionResultType]::ParameterName, 'How long a new generation may take to become ready')
            [CompletionResult]::new('--alive', '--alive', [CompletionResultType]::ParameterName, 'Replace the live generation when it no longer works')
            [CompletionResult]::new('--watchdog', '--watchdog', [CompletionResultType]::ParameterName, 'Treat the program as hung after this long without a watchdog ping')
            [CompletionResult]::new('--share', '--share', [CompletionResultType]::ParameterName, 'Give a new generation only a share of new connections at first')
            [CompletionResult]::new('--share-every', '--share-every', [CompletionResultType]::ParameterName, 'Take the next step of --share after this time')
            [CompletionResult]::new('--share-check', '--share-check', [CompletionResultType]::ParameterName, 'Take a step of --share only if this shell command succeeds')
            [CompletionResult]::new('--preview', '--preview', [CompletionResultType]::ParameterName, 'Another address that always leads to the newest ready generation')
            [CompletionResult]::new('--rollback-within', '--rollback-within', [CompletionResultType]::ParameterName, 'Roll back if the new version crashes within this time')
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'Keep the old generation for this long after the switch')
            [CompletionResult]::new('--stop-timeout', '--stop-timeout', [CompletionResultType]::ParameterName, 'How long the old generation may take to stop')
            [CompletionResult]::new('--instances', '--instances', [CompletionResultType]::ParameterName, 'Run this many instances of the program on the same addresses')
            [CompletionResult]::new('-E', '-E ', [CompletionResultType]::ParameterName, 'Set a variable for the program (repeatable)')
            [CompletionResult]::new('--env', '--env', [CompletionResultType]::ParameterName, 'Set a variable for the program (repeatable)')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read environment variables for the program from this file')
            [CompletionResult]::new('--env-from', '--env-from', [CompletionResultType]::ParameterName, 'Read environment variables for the program from keys in etcd')
            [CompletionResult]::new('--hook', '--hook', [CompletionResultType]::ParameterName, 'Run a shell command when something happens to a generation (repeatable)')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Run in this directory')
            [CompletionResult]::new('--workdir', '--workdir', [CompletionResultType]::ParameterName, 'Run in this directory')
            [CompletionResult]::new('--stdin', '--stdin', [CompletionResultType]::ParameterName, 'Where keyboard input goes')
            [CompletionResult]::new('--ui', '--ui', [CompletionResultType]::ParameterName, 'How to show hotrun''s own output')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colors in hotrun''s own output')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'Log hotrun''s decisions to this file, for bug reports (overwrites it)')
            [CompletionResult]::new('--generate', '--generate', [CompletionResultType]::ParameterName, 'Print shell completions or the man page')
            [CompletionResult]::new('--ready', '--ready', [CompletionResultType]::ParameterName, 'How to detect that a new generation is ready')
            [CompletionResult]::new('--stop-signal', '--stop-signal', [CompletionResultType]::ParameterName, 'Signal that asks the old generation to stop')
            [CompletionResult]::new('--no-vcs-ignore', '--no-vcs-ignore', [CompletionResultType]::ParameterName, 'Watch files that version control ignores')
            [CompletionResult]::new('--no-error-page', '--no-error-page', [CompletionResultType]::ParameterName, 'Hold requests instead of answering 503 when no version is running')
            [CompletionResult]::new('--stop-first', '--stop-first', [CompletionResultType]::ParameterName, 'Stop the old generation before the new one starts')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Clear the terminal before each build')
            [CompletionResult]::new('--clear', '--clear', [CompletionResultType]::ParameterName, 'Clear the terminal before each build')
            [CompletionResult]::new('--why', '--why', [CompletionResultType]::ParameterName, 'Show which files triggered a build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Show only failures (overrides `--verbose`)')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Show only failures (overrides `--verbose`)')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show more details')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show more details')
            [CompletionResult]::new('--doctor', '--doctor', [CompletionResultType]::ParameterName, 'Check this system and suggest fixes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help: common options with `-h`, all with `--help`')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help: common options with `-h`, all with `--help`')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

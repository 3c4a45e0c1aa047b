
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
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Watch only files with these extensions, separated by commas')
            [CompletionResult]::new('--exts', '--exts', [CompletionResultType]::ParameterName, 'Watch only files with these extensions, separated by commas')
            [CompletionResult]::new('--on', '--on', [CompletionResultType]::ParameterName, 'Let changes of some files do something else (repeatable)')
            [CompletionResult]::new('--debounce', '--debounce', [CompletionResultType]::ParameterName, 'How long to let changes settle before a build')
            [CompletionResult]::new('--poll', '--poll', [CompletionResultType]::ParameterName, 'Look for changes instead of being told of them')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Build with this shell line before COMMAND is started')
            [CompletionResult]::new('--build', '--build', [CompletionResultType]::ParameterName, 'Build with this shell line before COMMAND is started')
            [CompletionResult]::new('--when-busy', '--when-busy', [CompletionResultType]::ParameterName, 'What a change does to a build that runs')
            [CompletionResult]::new('--adopt', '--adopt', [CompletionResultType]::ParameterName, 'Take over the sockets that the program opens by itself')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Hold this socket open and pass it to the program (repeatable)')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Hold this socket open and pass it to the program (repeatable)')
            [CompletionResult]::new('--listen-pid', '--listen-pid', [CompletionResultType]::ParameterName, 'Whether to set `LISTEN_PID` for the program')
            [CompletionResult]::new('--ready', '--ready', [CompletionResultType]::ParameterName, 'How to know that a new generation is ready')
            [CompletionResult]::new('--ready-timeout', '--ready-timeout', [CompletionResultType]::ParameterName, 'How long a new generation may take to be ready')
            [CompletionResult]::new('--watchdog', '--watchdog', [CompletionResultType]::ParameterName, 'Take a program for hung that gives no sign of life for this long')
            [CompletionResult]::new('--go-back-within', '--go-back-within', [CompletionResultType]::ParameterName, 'How soon after its switch a crash leads back to the generation before it')
            [CompletionResult]::new('--stop-signal', '--stop-signal', [CompletionResultType]::ParameterName, 'The signal that asks the old generation to finish')
            [CompletionResult]::new('--stop-timeout', '--stop-timeout', [CompletionResultType]::ParameterName, 'How long the old generation may take to finish before it is killed')
            [CompletionResult]::new('-E', '-E ', [CompletionResultType]::ParameterName, 'Set a variable in the program''s environment (repeatable)')
            [CompletionResult]::new('--env', '--env', [CompletionResultType]::ParameterName, 'Set a variable in the program''s environment (repeatable)')
            [CompletionResult]::new('--env-file', '--env-file', [CompletionResultType]::ParameterName, 'Read variables for the program from this file')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Work in this directory')
            [CompletionResult]::new('--workdir', '--workdir', [CompletionResultType]::ParameterName, 'Work in this directory')
            [CompletionResult]::new('--stdin', '--stdin', [CompletionResultType]::ParameterName, 'Who gets what is typed, on a live terminal')
            [CompletionResult]::new('--ui', '--ui', [CompletionResultType]::ParameterName, 'How to show what happens')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours in hotrun''s own lines')
            [CompletionResult]::new('--generate', '--generate', [CompletionResultType]::ParameterName, 'Print shell completions or the man page')
            [CompletionResult]::new('--no-vcs-ignore', '--no-vcs-ignore', [CompletionResultType]::ParameterName, 'Watch files that version control ignores, too')
            [CompletionResult]::new('--no-error-page', '--no-error-page', [CompletionResultType]::ParameterName, 'Let requests wait while nothing serves and nothing is on its way')
            [CompletionResult]::new('--stop-first', '--stop-first', [CompletionResultType]::ParameterName, 'Stop the old generation before the new one starts')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Clear the terminal before a build')
            [CompletionResult]::new('--clear', '--clear', [CompletionResultType]::ParameterName, 'Clear the terminal before a build')
            [CompletionResult]::new('--why', '--why', [CompletionResultType]::ParameterName, 'Name the files that caused a build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Show failures only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Show failures only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Show more detail')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Show more detail')
            [CompletionResult]::new('--doctor', '--doctor', [CompletionResultType]::ParameterName, 'Say what of hotrun works here, and what to do about what does not')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help: `-h` in short, `--help` in full')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help: `-h` in short, `--help` in full')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

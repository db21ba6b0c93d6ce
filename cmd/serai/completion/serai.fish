# Completion of serai's command line: ~/.config/fish/completions/serai.fish
function __serai_complete
    for line in (serai complete -- (commandline -cp | string collect) 2>/dev/null)
        switch $line
            case ':files' ':directories'
                set -l token (commandline -ct)
                set -l before (string match -r -- '^-[^=]*=' $token)
                for path in (__fish_complete_path (string replace -- "$before" '' $token))
                    echo "$before$path"
                end
            case '*'
                echo $line
        end
    end
end
complete -c serai -f -a '(__serai_complete)'

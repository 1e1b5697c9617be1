//! Shells: a separator or a substitution, then a command that is known, with the argument that makes it an attack.
//! People here write commands all day; few of them are these, and few stand behind a stray separator.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Programs and built-ins whose names are no words of a language.
macro_rules! programs {
    () => {
        r"(?:/(?:usr/)?(?:local/)?s?bin/)?(?:whoami|uname|ifconfig|netstat|printenv|crontab|user(?:add|del|mod)|adduser|groupadd|openssl|kubectl|docker|podman|scp|sftp|ssh|rsync|curl|wget|ncat|netcat|nc|socat|telnet|nslookup|dig|traceroute6?|tftp|busybox|mkfifo|chmod|chown|chattr|lsof|lsblk|dmesg|sysctl|systemctl|iptables|tcpdump|nmap|passwd|sudo|su|mysql|mysqldump|psql|sqlite3|mongo|redis-cli|gawk|tar|gunzip|unzip|base64\s+[-/]\S*|xxd|hexdump|od|mkdir|rmdir|cp|mv|rm|dd|df|du|ps|ls|pwd|env|uptime|hostname|poweroff|insmod|modprobe|umount|nohup|strace|gdb|gcc|python\d?|perl|ruby|php|bash|sh|zsh|ksh|dash|pkill|killall|eval|tac|nl|getent|vim?|whereis|lscpu|lspci|logname|cat|touch|source|ping6?|ipconfig|systeminfo|tasklist|taskkill|schtasks|vssadmin|i?cacls|takeown|mklink|attrib|wmic|msiexec|netsh|diskpart|bitsadmin|certutil|mshta|rundll32|regsvr32|[wc]script|powershell|pwsh|cmd|bcdedit|wevtutil|fsutil|nltest|dsquery|qwinsta|quser|driverquery|getmac|arp|tracert|pathping|nbtstat|findstr|xcopy|robocopy|comspec|gpresult|calc|notepad|(?:get|set|new|remove|start|stop|invoke|import|out|add|copy|move|write)-(?:process|service|content|childitem|item(?:property)?|web(?:request|client)|restmethod|expression|command|object|wmiobject|ciminstance|module|file|string|location|acl|(?:local|ad)?user|job|sleep|computer|credential|history|variable|executionpolicy))(?:\.exe)?"
    };
}

/// Programs whose names are words as well, with what only follows a program.
macro_rules! worded_programs {
    () => {
        r"(?:(?:who|set|head|tail|more|less|find|sort|cut|rev|strings|type|kill|host|finger|echo|fold|split|paste|date|last|route|reg|sc|net|query|del|erase|rd|ren|copy|move|dir|tree|start|timeout|shutdown|reboot|halt|mount|which|id|test|export|tee|cd|exec|node|lua|for|service|more|call|vol|ip)\s+(?:[-/~.$%\\\x22'(]\S|/|\w:\\|\w+\s*(?:\||>|$)|\w+\s+[-/$\w]+$))"
    };
}

/// Programs that command lines begin with: what follows is an argument. Not those whose names are given to things as
/// well, as `test` and `id`.
pub(super) const COMMANDS: &[&str] = &[
    "apt",
    "awk",
    "bash",
    "brew",
    "bun",
    "bunx",
    "cargo",
    "cat",
    "cd",
    "chmod",
    "chown",
    "cp",
    "curl",
    "deno",
    "df",
    "dig",
    "dir",
    "docker",
    "du",
    "echo",
    "export",
    "find",
    "free",
    "git",
    "go",
    "grep",
    "helm",
    "ifconfig",
    "ip",
    "ipconfig",
    "journalctl",
    "jq",
    "kill",
    "kubectl",
    "ls",
    "lsof",
    "make",
    "mkdir",
    "mv",
    "mvn",
    "mysql",
    "netstat",
    "node",
    "npm",
    "npx",
    "nslookup",
    "pip",
    "ping",
    "pnpm",
    "poetry",
    "ps",
    "psql",
    "pwd",
    "pytest",
    "python",
    "python3",
    "rm",
    "rsync",
    "run",
    "scp",
    "sed",
    "sh",
    "sleep",
    "sort",
    "source",
    "ssh",
    "sudo",
    "systemctl",
    "systeminfo",
    "tail",
    "tar",
    "tasklist",
    "terraform",
    "top",
    "touch",
    "traceroute",
    "uname",
    "uv",
    "wget",
    "yarn",
];

/// Shapes that are a command line's own where the text begins as one.
pub(super) const JOINS: &[&str] = &[
    "separator, then a command that tells",
    "separator, then a bare command",
    "separator, then a file is read",
    "separator, then the network",
    "separator, then a delay",
    "Windows command behind a separator",
];

/// Where a separator or a substitution is.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        3,
        Payload,
        "separator, then a command that tells",
        r"(?:[;|&\n\r]|\$\(|[<>]\()\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname|ifconfig|ipconfig|netstat|systeminfo|tasklist|printenv|lsb_release|lscpu|getmac|qwinsta|dmesg|lsof|ps\s+-?(?:aux\w*|ef))(?:\.exe)?(?:\s+[-/][a-z0-9]{1,6}){0,2}\s*(?:[;|&#)`\n\r'\x22\x00<>]|$)",
    ),
    shape(
        1,
        Payload,
        "separator, then a bare command",
        r"(?:[;|&\n\r]|\$\(|[<>]\()\s*(?:/(?:usr/)?s?bin/)?(?:id|ls|dir|pwd|hostname|env|ps|w|who|set|ver|reboot|shutdown|halt|arch|groups|last|df|mount|route|arp|jobs|history|vol|sh|bash|users|logname)(?:\.exe)?(?:\s+[-/][a-z0-9]{1,6}){0,2}\s*(?:[;|&#)`\n\r'\x22\x00<>]|$)",
    ),
    shape(
        4,
        Payload,
        "process substitution",
        r"[<>]\(\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|ls|cat\s|curl\s|wget\s|nc\s|sleep\s|bash|sh|uname|ping\s)[^)]*\)",
    ),
    shape(
        3,
        BreakOut,
        "begins with a separator",
        r"^\s*['\x22]?\s*(?:;|&&?|\n|\r|%0a|\)\s*[;|&])\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|ls|dir|pwd|uname|ifconfig|ipconfig|hostname|env|printenv|ps|netstat|who|w|set|ver|systeminfo|tasklist|cat|tac|head|tail|more|less|nl|type|echo|curl|wget|nc|ncat|busybox|ping|nslookup|dig|host|sleep|timeout|python\d?|perl|ruby|php|node|bash|sh|zsh|cmd|powershell|pwsh|net|rm|cp|mv|chmod|chown|touch|find|grep|awk|sed|sort|base64|xxd|od|kill|reboot|shutdown|telnet|ssh|scp|ftp|tftp|crontab|useradd|passwd|sudo|exec|eval|source|tee|dd|mkfifo|lynx|socat|openssl|certutil|wmic|start|system|phpinfo)\b",
    ),
    shape(
        3,
        BreakOut,
        "begins with a pipe",
        r"^\s*['\x22]?\s*\|\|?\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|ls|dir|pwd|uname|ifconfig|ipconfig|hostname|env|printenv|ps|netstat|who|w|set|ver|systeminfo|tasklist|cat|tac|head|tail|more|less|nl|type|echo|curl|wget|nc|ncat|busybox|ping|nslookup|dig|host|sleep|timeout|python\d?|perl|ruby|php|node|bash|sh|zsh|cmd|powershell|pwsh|net|rm|cp|mv|chmod|chown|touch|find|grep|awk|sed|sort|base64|xxd|od|kill|reboot|shutdown|telnet|ssh|scp|ftp|tftp|crontab|useradd|passwd|sudo|exec|eval|source|tee|dd|mkfifo|lynx|socat|openssl|certutil|wmic|reg|sc|del|copy|start|system|phpinfo)\b[^|]*(?:\|?['\x22]?\s*$|\|\||\|\s*(?:sh|bash|base64|nc|python|perl|tee|sudo)\b)",
    ),
    shape(
        3,
        BreakOut,
        "a value, then a separator and a command",
        r"^(?:[\w@:?%-]*[./=\d@]+[\w@:?%-]*)+['\x22)]*\s?(?:;|\|\|?|&&?|\n|\r)\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname|ifconfig|ipconfig|netstat|systeminfo|tasklist|printenv|cat\s+\S*[/.*$?]\S*|tac\s+\S*/|head\s+\S*/|curl\s|wget\s|nc\s+-?\S|ncat\s|busybox\s|ping\s+-|ping\s+\S+\.\S|nslookup\s|dig\s|sleep\s+\d|rm\s+-|bash\s+-|sh\s+-|cmd\s*/|powershell\s|python\d?\s+-c|perl\s+-e|php\s+-r|ruby\s+-e|base64\s+-d|xxd\s+-|telnet\s|certutil\s|wmic\s|net\s+(?:user|localgroup)|ls\s+[-/]|dir\s+\w:|type\s+\w:|find\s+/|id$|ls$|dir$|pwd$|env$|ps\s|echo\s+\S|id|ls|dir|pwd|env|ps|id)",
    ),
    shape(
        2,
        BreakOut,
        "a word, then a separator and a command",
        r"^[\w-]+['\x22)]*\s?(?:;|\|\|?|&&?|\n|\r)\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname|ifconfig|ipconfig|netstat|systeminfo|tasklist|printenv|cat\s+\S*[/.*$?]\S*|tac\s+\S*/|head\s+\S*/|curl\s|wget\s|nc\s+-?\S|ncat\s|busybox\s|ping\s+-|ping\s+\S+\.\S|nslookup\s|dig\s|sleep\s+\d|rm\s+-|bash\s+-|sh\s+-|cmd\s*/|powershell\s|python\d?\s+-c|perl\s+-e|php\s+-r|ruby\s+-e|base64\s+-d|xxd\s+-|telnet\s|certutil\s|wmic\s|net\s+(?:user|localgroup)|ls\s+[-/]|dir\s+\w:|type\s+\w:|find\s+/|ps\s|echo\s+\S)",
    ),
    shape(
        2,
        BreakOut,
        "a word glued to a separator and a bare command",
        r"^[\w.-]+(?:;|\|\|?|&&?|\n|\r)(?:id|ls|dir|pwd|env|ps)$",
    ),
    shape(3, BreakOut, "a line, then a command alone", r"^[^\n]*\n\s*(?:id|ls|dir|pwd|env|whoami|ps)\s*$"),
    shape(
        3,
        BreakOut,
        "quote, then a separator and a command",
        r"['\x22)]\s*(?:;|\|\|?|&&?|\n)\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname|ifconfig|ipconfig|netstat|systeminfo|tasklist|printenv|cat\s+\S*[/.*$?]\S*|tac\s+\S*/|head\s+\S*/|curl\s|wget\s|nc\s+-?\S|ncat\s|busybox\s|ping\s+-|ping\s+\S+\.\S|nslookup\s|dig\s|sleep\s+\d|rm\s+-|bash\s+-|sh\s+-|cmd\s*/|powershell\s|python\d?\s+-c|perl\s+-e|php\s+-r|ruby\s+-e|base64\s+-d|xxd\s+-|telnet\s|certutil\s|wmic\s|net\s+(?:user|localgroup)|ls\s+[-/]|dir\s+\w:|type\s+\w:|find\s+/|ps\s|echo\s+\S|(?:id|ls|dir|pwd|env)\s*(?:[;|&#'\x22]|$))",
    ),
    shape(
        3,
        Payload,
        "separator, then a file of the system is read",
        r"(?:[;|&\n\r`]|\$\()\s*(?:/(?:usr/)?s?bin/)?(?:cat|tac|head|tail|more|less|nl|od|xxd|strings|sort|rev|base(?:64|32)|cp|vim?|nano|cut|paste|uniq|diff|grep|awk|sed|tee|dd|curl|type|get-content|gc|hexdump|fold|pr|split|csplit|find|ls|dir|file|stat|chmod|chown|touch|mv|rm)\b[^;|&\n]*?(?:[\s<'\x22=:]|\$\w+\{?)(?:/(?:etc|proc|var|root|home|usr|tmp|dev|opt|boot|sys|bin)\b|/\?+|/e\S{0,3}/p|~/\.|\$home|c:[\\/]|\.\./|/\*|\.htaccess|wp-config|/\s|/$)",
    ),
    shape(
        2,
        Payload,
        "separator, then a file is read",
        r"(?:[;|&\n\r]|\$\()\s*(?:cat|tac|head|tail|nl|od|xxd|strings|rev|type|get-content)\s+(?:-\w+\s+)?[^\s;|&]*[./*$~\\][^\s;|&]*",
    ),
    shape(
        4,
        Payload,
        "secret of the system in a command",
        r"\b(?:cat|tac|head|tail|more|less|nl|od|xxd|strings|sort|rev|base64|cp|vi|vim|grep\s+\S+|awk\s+\S+|sed\s+\S+|cut\s+.+|type|ls(?:\s+-\w+)?)\s*[<\s]\s*(?:/+\.{0,2}/*)+etc/+(?:passwd|shadow|sudoers|group)\b",
    ),
    shape(
        3,
        Payload,
        "separator, then the network",
        r"(?:[;|&\n\r`({]|\$\(|^[\w.]{0,12}['\x22])\s*(?:/(?:usr/)?s?bin/)?(?:curl|wget|fetch|lynx|lwp-\w+|ping6?|nslookup|dig|host|traceroute|tracert|telnet|ssh|ftp|tftp|scp|rsync|nc|ncat|netcat|socat|finger|whois)\s+(?:-{1,2}\S+\s+(?:\d+\s+|\w+\s+)?){0,6}['\x22]?(?:(?:https?|ftp|gopher)://)?(?:\d{1,3}\.\d|[\w-]+\.[\w.-]+|localhost|\$|`|\[)",
    ),
    shape(
        3,
        Payload,
        "separator, then a delay",
        r"(?:[;|&\n\r`({]|\$\()\s*(?:/bin/)?(?:sleep\s+[\d.]+[smhd]?\s*(?:[^\sa-z]|$)|timeout\s+(?:/t\s+)?\d+|ping\s+-[nc]\s*\d+\s+\S+|start-sleep\s+-?\w*\s*\d+|usleep\s+\d+)",
    ),
    shape(
        4,
        Payload,
        "reverse shell",
        r"/dev/(?:tcp|udp)/[\w.$-]+/|\b(?:ba|z|k|c|da)?sh\s+-i\b\s*(?:[>&<2|]|$)|\bmkfifo\s+/|\bn(?:c|cat|etcat)\b(?:\.\w+)?\s+(?:-\w+\s+){0,4}(?:\S+\s+\d+\s+)?-[ec]\s+\S|\bnc\s+-\w*l\w*\s|\bn(?:c|cat)\s+\d{1,3}(?:\.\d{1,3}){3}\s+\d+|\bsocat\s+(?:tcp|exec|udp)|\b0<&\d+|\bexec\s+\d+<>|\bpty\.spawn\s*\(|\bsocket\.socket\s*\(.*(?:connect|dup2)|\bfsockopen\s*\(|\btelnet\s+\S+\s+\d+\s*\|",
    ),
    shape(
        3,
        Payload,
        "downloaded and run",
        r"(?:[;&`(\n]|\$\(|\|\|)\s*(?:curl|wget|fetch)\b[^|;&]*(?:\||;|&&|-O\s|-o\s|>)\s*(?:sudo\s+)?(?:/bin/)?(?:\S*sh\b|python|perl|php|ruby|node|chmod|/tmp|/var|/dev/shm)|(?:curl|wget)\b[^|;&]*(?:[;&]|&&)\s*(?:chmod|\./|sh\s|bash\s)",
    ),
    shape(
        3,
        Payload,
        "one-line program",
        r"(?:[;|&`(\n]|\$\(|^|&&)\s*(?:python[\d.]*|perl|ruby|php|node|lua|awk|gawk)\s+(?:-\w+\s+){0,2}-?(?:-eval|[cer]|BEGIN)?\s*['\x22{(]?\s*(?:import\s+(?:os|socket|pty|subprocess|urllib)|use\s+Socket|system|exec\s*\(|\$\w=|BEGIN\s*\{\s*system|f=TCPSocket|__import__|require\s*\(\s*['\x22]child)|\bruby\s+-rsocket|\bperl\s+-MIO\b",
    ),
    shape(
        4,
        Payload,
        "substitution of a command that tells or fetches",
        r"\$\(\s*(?:/(?:usr/)?s?bin/)?(?:(?:id|whoami|uname|hostname|ifconfig|env|ps|netstat|who|bash|sh)\b|sleep\s+\d|curl\s|wget\s|nc\s|ping\s|nslookup\s|dig\s|python\w*\s|perl\s|php\s|rm\s|touch\s|expr\s+\d|printf\s|echo\s+[\w/+=]{8,}\s*\||cat\s+/|cat\s*<|ls\s+/|base64\s|head\s+/|tac\s+/|chmod\s|find\s+/|eval\b|tftp\s|lynx\s|getent\s|last\s*\)|rev\s*<)[^)]*",
    ),
    shape(2, Payload, "substitution of a file", r"\$\(\s*(?:<\s*\S|cat\s+\S|echo\s+\S+\s*\||ls\s)"),
    shape(
        4,
        Payload,
        "command in back-ticks, glued or alone",
        r"(?:^[\w.@:/=?'\x22$-]*|[\w.'\x22=])`\s*(?:/(?:usr/)?s?bin/)?(?:id|whoami|uname|hostname|ifconfig|env|sleep\s+\d+|curl\s[^`]*[./]|wget\s|nc\s|ping\s+-|nslookup\s|dig\s|cat\s+\S*/|ls(?:\s+-la?|\s+/\S*)?|bash\s+-|sh\s+-c|python\w*\s+-c|perl\s+-e|php\s+-r|touch\s+/|dir|type\s+\w:)(?:\s[^`]*)?`\s*['\x22;|&#]{0,4}\w{0,8}$",
    ),
    shape(
        4,
        Payload,
        "command in back-ticks that tells or fetches",
        r"`\s*(?:/(?:usr/)?s?bin/)?(?:whoami|uname\s+-a|ifconfig|sleep\s+\d+|cat\s+(?:/etc/(?:passwd|shadow|group|hosts|issue)|/proc/)\S*|nslookup\s+[^`]+|wget\s+-?\S*\s*https?://[^`]+|nc\s+-\w+[^`]+|ping\s+-[cn]\s*\d+[^`]*|curl\s+[^`]*(?:`|\$\()|perl\s+-e[^`]+)\s*`\s*$",
    ),
    shape(
        2,
        Payload,
        "field separator for a blank",
        r"\$\{?IFS\b|\$\{?IFS\}?\$\d|\{(?:cat|ls|curl|wget|nc|ping|sleep|echo|bash|id),[^}\s]+\}|\$'\\x|\bcat<\S|\b(?:cat|ls|id|wget|curl|ping)\$\w",
    ),
    shape(
        4,
        BreakOut,
        "separator, then a spelt-out or substituted program",
        r"^[^\s;|&`$(]{0,24}['\x22]?\s*[;|&\n]{1,2}\s*(?:\{[\w./]{2,24},[^}\s]*\}|\$\(|`|/(?:[\w?*\[\]]+/)*[\w]*[?*\[][\w?*\]]*(?:\s|$))",
    ),
    shape(
        4,
        BreakOut,
        "option that names a program to run",
        r"^\s*(?:-o\s?ProxyCommand\s*=|--(?:upload-pack|receive-pack|use-askpass|checkpoint-action|to-command|rsh|config=(?:core\.(?:pager|editor|sshcommand|fsmonitor|askpass)|alias\.\w+|credential\.helper))\s*=|ext::\w+\s)",
    ),
    shape(
        4,
        Payload,
        "wild cards for letters of a command",
        r"/(?:[\w?*\[\]-]{1,8}/){0,3}(?:\?{1,3}\w?|[a-z]\?[a-z?]{0,4}|\?[a-z?]{1,5}|\[[a-z]\]\w+)(?:/[\w?*\[\]]+)*\s+(?:-\w+\s+)?/[\w?*\[\]]*[?*\[]|\b(?:cat|ls|tac|head)\s+/\?+\w*/\S|/e[t?*]{0,2}[c?*]?/pa[s?*]{1,4}[wd?*]{0,2}[?*]",
    ),
    shape(4, Payload, "shellshock", r"\(\s*\)\s*\{\s*(?::|_|[\w;\s]*)\s*;?\s*\}\s*;"),
    shape(
        3,
        Payload,
        "encoded command, decoded and run",
        r"\b(?:base64\s+(?:-d|-D|--decode)|xxd\s+-r|rev|tr\s+\S+\s+\S+|openssl\s+enc)\b[^|]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|\|\s*(?:ba|z)?sh\s*(?:-\w\s*)?(?:<<<|$)[\s;]*$|<<<\s*\$?\(?\s*(?:base64|echo|rev)|\bprintf\s+['\x22]?\\(?:x|\d)",
    ),
    shape(
        2,
        Payload,
        "removal",
        r"(?:[;|&\n]|\$\()\s*(?:sudo\s+)?(?:rm\s+-\w*[rf]\w*\s+\S|del\s+/[fqs]|rd\s+/s|rmdir\s+/s|format\s+c:|mkfs\b|dd\s+if=|:\(\)\s*\{|shutdown\s+[-/]|kill\s+-9\s+-?\d|chmod\s+(?:-R\s+)?[0-7+]{2,4}|chown\s|crontab\s+-|useradd\s|net\s+user\s|passwd\s)",
    ),
    shape(
        2,
        Payload,
        "program run by its path",
        r"(?:[;|&\n]|\$\()\s*(?:/(?:usr/)?(?:local/)?s?bin/(?:ba|z|da|k)?\w{1,10}|/tmp/\S+|\./\S+\.sh)\b|(?:^|[\s=])/(?:usr/)?bin/(?:ba|z|da)?(?:sh|cat|id|ls|nc|whoami|uname|wget|curl|python\w*|perl)\s+(?:-\w\s|/|\S+\s*$)|^[\s'\x22]{0,3}/(?:usr/)?bin/(?:id|whoami|uname|ls|cat|ps)\b",
    ),
    shape(
        2,
        Payload,
        "output into a file of the server",
        r"(?:[;|&\n]|\becho\b).*>{1,2}\s*(?:/var/www|/tmp/|/dev/tcp|/etc/|c:\\|/usr/|\S+\.(?:php|jsp|asp|aspx|sh|html)\b|~/\.ssh)",
    ),
    shape(
        3,
        Payload,
        "echo of a marker",
        r"(?:[;|&\n`'\x22]|\$\()\s*(?:echo|print|printf|expr|write-output|set\s+/a)\s+['\x22]?(?:\$\(\(|\d+\s*[-+*]\s*\d+|[a-z]*\d{3,}|`|\$\(|%\w+%|\w{1,16}['\x22]?\s*(?:$|[;|&#]))",
    ),
    // Windows.
    shape(
        3,
        Payload,
        "Windows command behind a separator",
        r"[&|;\n]\s*(?:cmd(?:\.exe)?\s*/[ckqr]\b|net1?\s+(?:user|localgroup|group|view|share|use|start|stop)\b|type\s+(?:[a-z]:|%\w|\\)|dir\s+(?:/\w\s+)?[a-z]:\\?|wmic\s+\w+|reg\s+(?:query|add|save)\s|sc\s+(?:query|create|stop)|tasklist\b|systeminfo\b|ipconfig\b|nslookup\s+\S+\.\S|copy\s+\\\\|findstr\s+/?\w|for\s+/[fdlr]\s+%|start\s+(?:calc|cmd|notepad|/b)|calc\.exe|mshta\s+\S|rundll32\s+\S|regsvr32\s+\S|cscript\s|wscript\s)",
    ),
    shape(
        4,
        Payload,
        "nothing but cmd with a command",
        r"^\W{0,3}cmd(?:\.exe)?\s*/[ckqr]\s+['\x22]?(?:dir|type|whoami|net|ipconfig|echo|calc|ping|powershell|certutil|del|copy|ver|systeminfo|tasklist)\b",
    ),
    shape(
        4,
        Payload,
        "option that runs a program",
        r"(?:^|\s)-o\s?(?:ProxyCommand|PermitLocalCommand|LocalCommand)\s*=|(?:^|\s)--(?:checkpoint-action|use-compress-program|upload-pack|receive-pack)\s*=\s*\S*(?:exec|sh\b|touch|id\b|curl|wget)",
    ),
];

/// Where a separator or a substitution begins the value, or is glued to one.
pub(super) const PROGRAMS: &[Shape] = &[
    shape(
        4,
        BreakOut,
        "a separator at once, then a program",
        concat!(
            r"^[\s'\x22)]{0,3}(?:;|&&?|\|\|?|[\r\n])\s*(?:",
            programs!(),
            r"(?:\s+\S|\s*(?:[;|&#)'\x22`\n\r>]|$))|",
            worded_programs!(),
            r")"
        ),
    ),
    shape(
        4,
        BreakOut,
        "a value, glued to a separator and a program",
        concat!(
            r"^[^\s;|&`$]{1,24}['\x22)]?(?:(?:;|&&|\|\||[\r\n])\s*(?:",
            programs!(),
            r"(?:\s+[^\s=]|\s*(?:[;|&#)'\x22`\n\r>]|$))|",
            worded_programs!(),
            r")|[|&]\s*(?:",
            programs!(),
            r"\s+[^\s=|]|",
            worded_programs!(),
            r"|get-\w{3,20}\s*$|\w+\.exe\s*$))"
        ),
    ),
    shape(
        4,
        Payload,
        "nothing but a value and a substituted program",
        concat!(
            r"^[^\s;|&`$]{0,24}(?:\$\(\s*(?:",
            programs!(),
            r"(?:\s[^)]*)?|",
            worded_programs!(),
            r"[^)]*)\)|['\x22\w./=]`\s*(?:",
            programs!(),
            r"(?:\s[^`]*)?|",
            worded_programs!(),
            r"[^`]*)`)\s*['\x22]?\s*#?$"
        ),
    ),
    shape(
        3,
        BreakOut,
        "a value, glued to a separator and a bare word that runs",
        r"^[^\s;|&`$]{0,24}(?:;|&&|\|\||[\r\n])\s*(?:id|w|ver|set|dir|last|who|hostname|mount|reboot|halt|date|vol|history|users|groups|jobs|env|ps)\s*(?:['\x22]?\s*(?:#.*)?|[;|&].*)$",
    ),
];

/// Without any separator.
pub(super) const BARE: &[Shape] = &[
    shape(
        3,
        Payload,
        "cmd with a command",
        r"\bcmd(?:\.exe)?[\s,]*/[ck][\s,]+['\x22]?(?:dir|type|whoami|net|ipconfig|echo|calc|ping|set|start|powershell|certutil|del|copy|ver|nslookup|systeminfo|tasklist|curl|bitsadmin|reg|wmic)\b|\bwinnt[\\/]+system32[\\/]+cmd|system32[\\/]+cmd\.exe",
    ),
    shape(
        4,
        Payload,
        "PowerShell that hides or fetches",
        r"\b(?:powershell|pwsh)(?:\.exe)?\b.*(?:-e(?:nc\w*|c|p\b)?\s+[a-z0-9+/=]{8,}|-nop\b|-noni\b|-w(?:indowstyle)?\s+hidden|\biex\b|downloadstring|downloadfile|frombase64)|\bnew-object\s+(?:system\.)?net\.(?:webclient|sockets)|\b(?:iex|invoke-expression)\s*[\s(]+[\s('\x22\x24]*(?:new-object|iwr|invoke-web\w*|irm|curl|wget|\[|get-content)|\.downloadstring\s*\(|\bcertutil(?:\.exe)?\s+.*-(?:urlcache|decode)|\bbitsadmin\s+/transfer|\bmshta(?:\.exe)?\s+(?:https?|javascript|vbscript):|\bregsvr32\s+/s.*scrobj|\brundll32(?:\.exe)?\s+javascript",
    ),
    shape(4, Payload, "command interpreter by its variable", r"%comspec%\s*/[ckqr]"),
    shape(3, Payload, "wild card in a path of a command", r"/(?:bin|etc|usr/bin|sbin)/\w*\?\w+"),
    shape(
        2,
        Payload,
        "PowerShell with a command",
        r"\b(?:powershell|pwsh)(?:\.exe)?\s.*(?:-ep?\s+bypass|-exec\w*\s+bypass|invoke-\w|new-object|get-process\b|get-childitem\b|whoami|start-process|iwr\b)",
    ),
    shape(
        3,
        Probe,
        "nothing but a command that tells",
        r"^\W{0,3}(?:/(?:usr/)?s?bin/)?(?:cat|tac|more|less|head|tail)\s+(?:-\w\s+)?/(?:etc/(?:passwd|shadow|group|sudoers)|proc/self)\S*$|^(?:uname|ifconfig)\s+-a\s*$|^(?:net\s+user|nc\s+-\w+\s.*|ping\s+-[cn]\s*\d+\s+\d{1,3}\.\d+\.\d+\.\d+|wget\s+https?://\d\S+\s+-O.*)$",
    ),
];

//! Paths that leave a folder, files that hold secrets, wrappers that read them.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands. A relative import goes up a few folders; nobody imports `/etc/passwd`.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        BreakOut,
        "up to a file of the system",
        r"\.\.[/\\]+[^\s'\x22]*?(?:etc[/\\]+(?:passwd|shadow|group|hosts|issue|motd|crontab|sudoers|ssh|nginx|apache2?|httpd|mysql|php|resolv|fstab|hostname|profile|environment|redis|my\.cnf|os-release)|proc[/\\]+(?:self|version|cpuinfo|\d+|net|cmdline|mounts)|win(?:dows|nt)[/\\]+|(?:win|boot|system|php|my|desktop)\.ini|web-inf|meta-inf|web\.config|\.ht(?:access|passwd)|\.env\b|id_[rd]sa|\.ssh\b|\.git[/\\]|\.svn[/\\]|\.aws\b|wp-config|\.bash\w+|autoexec\.bat|var[/\\]+(?:log|www|lib|mail|run|spool)\b|usr[/\\]+(?:local|share|lib|bin)\b|root[/\\]|boot[/\\]|tmp[/\\]|inetpub|home[/\\]+\w+[/\\]+\.|config(?:uration)?\.php|database\.yml|settings\.py|secrets?\.\w+|localsettings\.php|global\.asa|cmd\.exe|access[._]log|error[._]log|bin[/\\]+(?:id|sh|ls|cat|bash|uname)|dev[/\\]+(?:null|zero|random|fd))",
    ),
    shape(2, BreakOut, "nothing but folders up", r"^[./\\]{8,}$"),
    shape(
        1,
        BreakOut,
        "three folders up and no more words",
        r"^[\w./\\:=?&%-]*?(?:\.\.[/\\]+){3,}[\w./\\%-]*\x00?[\w.]*$",
    ),
    shape(2, BreakOut, "many folders up", r"(?:\.\.[/\\]+){5}"),
    shape(
        2,
        BreakOut,
        "folders up with back-slashes",
        r"(?:\.\.\\+){2}[\w\\.]+(?:\.(?:ini|config|log|exe|txt|conf|bat|sys|dat|asp\w?|php)|\\(?:windows|winnt|users|etc))",
    ),
    shape(
        4,
        BreakOut,
        "folder up in disguise",
        r"(?:\.{3,}|\.\.;|\.\.%00|\.\.\x00|\.\x00\.|\.\./\.|\.\.\\\.)[/\\]+(?:\.{2,4}[;/\\]+){1,}\w|(?:^|[/\\])\.\.;/|\.\.%(?:25)?(?:2f|5c|c0%af|c1%9c|u2215|u2216|00)|%(?:25)*2e%(?:25)*2e(?:%(?:25)*(?:2f|5c)|[/\\])|(?:\.\.|%2e%2e)(?:\xc0\xaf|\xc1\x9c|\xe0\x80\xaf|%c0%af|%c1%9c)|\xc0\xae\xc0\xae|(?:\.\.\\/|\.\./\\){2}|(?:\.\.//|\.\.///|\.\.\\\\){2,}|(?:/\./|\\\.\\){3,}|\./\.\./\./\.\./|\.\.0x2f|\.\.\\x2f|(?:\.\.\s*/\s*){3,}etc",
    ),
    shape(
        4,
        Payload,
        "nothing but a file that holds secrets",
        r"^[\s'\x22/\\;=.]{0,8}(?:file:/{1,3}|[a-z]\w{0,12}=)?/*(?:\./+)*(?:etc/+(?:\./+)*(?:passwd|shadow|sudoers|group|gshadow|issue|master\.passwd|security/\w+)\b|proc/+(?:self|\d+|version|cpuinfo|sys|mounts|net)(?:/+[\w/]*)?|root/\S+|var/+log/+\S+|home/\w+/\.\w+\S*|usr/local/\S*(?:conf|log)\S*)[-\w./\x00%~]*$",
    ),
    shape(
        4,
        Payload,
        "nothing but a file that holds keys",
        r"^[\s'\x22=]{0,3}(?:~|/root|/home/\w+)?/?(?:\.ssh/(?:id_\w+|authorized_keys)|(?:web|meta)-inf/\S+|\.bash_history|\.aws/credentials|\.git/(?:config|HEAD))$",
    ),
    shape(
        2,
        Payload,
        "file that holds secrets",
        r"/etc/+(?:\./+)*(?:passwd|shadow|gshadow|sudoers|master\.passwd)\b|/proc/+self/+(?:environ|cmdline|maps|fd|mem|status|root|cwd|exe)\b|/etc/[^\s]{0,12}pass|/root/\.\w|/home/\w+/\.(?:ssh|bash_history|aws)|\.ssh/(?:id_\w+|authorized_keys)|/etc/ssh/\S*key",
    ),
    shape(
        1,
        Probe,
        "files of the system",
        r"(?:^|[\s'\x22=:])/etc/(?:group|issue|crontab|fstab|motd|mysql|apache2?|httpd|php|security|ssh)\b",
    ),
    shape(
        2,
        Payload,
        "nothing but a setting of the system",
        r"^[\s'\x22=]{0,3}/?(?:etc/(?:hosts|hostname|group|fstab|crontab|motd|resolv\.conf|nginx|apache2?|httpd|mysql|php|os-release|profile|ssh|ssl)[\w./-]*|\.htaccess|\.htpasswd|\.git/(?:config|HEAD|index)|\.svn/\w+|\.aws/credentials|web\.config|wp-config\.php\S*|var/(?:www|lib|run|mail)/\S+|server-status|phpmyadmin/\S*|\.DS_Store|\.bash_history|\.env(?:\.(?:production|local|prod|backup|bak))?)$",
    ),
    shape(
        3,
        Payload,
        "file of Windows",
        r"\b[a-z]:[/\\]+(?:windows|winnt)[/\\]+(?:win\.ini|system\.ini|system32[/\\]+(?:drivers[/\\]+etc|config[/\\]+\w+|cmd\.exe|inetsrv)|repair|php\.ini|my\.ini|debug|panther|temp\\\w)|\b[a-z]:[/\\]+(?:boot\.ini|inetpub[/\\]+(?:logs|temp|history|wwwroot[/\\]+(?:web\.config|\S+\.(?:aspx?|php|txt)))|autoexec\.bat|xampp[/\\]\S*(?:log|conf|ini)|unattend)|%(?:appdata|userprofile)%[/\\]+\.(?:aws|ssh|azure|kube|docker)\b",
    ),
    shape(
        1,
        Payload,
        "folder of Windows",
        r"%(?:systemroot|windir|systemdrive|appdata|userprofile)%[/\\]|\b[a-z]:[/\\]+inetpub[/\\]",
    ),
    shape(
        2,
        Payload,
        "nothing but a path of Windows",
        r"^[\s'\x22=]{0,3}(?:[a-z]:)?[/\\]+(?:windows|winnt|boot\.ini|inetpub|users[/\\]\w+[/\\](?:\.|ntuser|desktop\.ini))\S*$|^(?:\\\\|//)\w[\w.-]+[/\\](?:[a-z]\$|admin\$|ipc\$|c)\b|^\\\\\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\\\w+",
    ),
    // Wrappers.
    shape(
        4,
        Payload,
        "wrapper that reads or runs",
        r"\bphp://(?:filter/|input\b[^\w\s]?$|fd/|temp/|memory/|stdin$)|\bphp://filter(?:$|[/?&%])|\bexpect://\w|\b(?:phar|compress\.(?:zlib|bzip2)|ogg|ssh2\.\w+|rar|glob|zip)://\S|\bjar:(?:file|https?):\S+!|\bnetdoc:/|\bfile:/{1,3}(?:etc|proc|root|var|c\||c:/*[\\/](?:windows|winnt|boot|inetpub|autoexec|users[\\/]\w+[\\/]\.)|windows|boot|dev|home/\w+/\.)|\b(?:resource|read|write|convert\.\w+)=(?:convert\.|php://|\S+\.php\b)|\bdata:(?:text/plain|application/x-httpd-php|;base64|//text/plain|//)[^,]*,\s*(?:<\?|PD9|\S+\()|\bview-source:file|\bfile://\$\{|\burl:file:",
    ),
    shape(1, Payload, "file by a URL", r"\bfile:/{2,3}[/\w]"),
    shape(2, Payload, "wrapper", r"\bphp://(?:input|stdin|output)\b|\b(?:data:;base64|data://text)"),
    shape(
        4,
        BreakOut,
        "name cut by a NUL",
        r"\S\x00(?:\.(?:jpe?g|png|gif|html?|txt|php|pdf|xml|js)|$)|%00\.(?:jpe?g|png|gif|html?|txt|php|pdf)",
    ),
    shape(2, Probe, "NUL", r"\x00"),
    shape(
        4,
        Payload,
        "settings of Windows",
        r"\b[a-z]:[/\\]+(?:boot\.ini|autoexec\.bat|(?:windows|winnt)[/\\]+(?:win|system)\.ini|windows[/\\]+system32[/\\]+(?:config|drivers[/\\]+etc)\b)",
    ),
];

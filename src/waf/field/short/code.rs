//! Program text for an interpreter on the server, and objects that act when they are read.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    // PHP.
    shape(
        2,
        Payload,
        "PHP opening tag",
        r"<\?(?:php\b|=)|<\?\s*(?:system|eval|exec|passthru|echo|print|include|require|\$)|<script[^>]{0,12}language\s*=\s*['\x22]?php",
    ),
    shape(
        3,
        Payload,
        "PHP opening tag with a program",
        r"<\?(?:php|=)?\s*(?:@?\s*(?:system|exec|eval|passthru|shell_exec|popen|proc_open|assert|phpinfo|include|require|file_get_contents|file_put_contents|fwrite|die|print_r|var_dump|readfile|base64_decode|move_uploaded_file|show_source|highlight_file|unlink|copy|call_user_func|preg_replace|ini_set|set_time_limit|error_reporting)\s*[('\x22 ]|echo\s*[('\x22\s`$]|print\s*[('\x22]|\$_|`|\$\w+\s*=|/\*|if\s*\()",
    ),
    shape(
        4,
        Payload,
        "PHP's call inside a string",
        r"\$\{\s*@?(?:print|phpinfo|system|eval|exec|passthru|die|sleep|file_get_contents)\s*\(|\{\$\{",
    ),
    shape(
        1,
        Payload,
        "PHP's request variables",
        r"\$_(?:GET|POST|REQUEST|COOKIE|SERVER|FILES|ENV|SESSION)\s*[\[{]|\$GLOBALS\s*\[|\$\{\s*(?:@?(?:print|phpinfo|system|eval|exec|passthru|file|die)\s*[(\s]|_(?:GET|POST|REQUEST))|\$\{@?print\(|\$(?:HTTP_|\{['\x22]_)\w+|\bHTTP_RAW_POST_DATA\b",
    ),
    shape(
        2,
        Payload,
        "call that runs",
        r"(?:^|[^\w.>:$])@?(?:system|exec|passthru|shell_exec|popen|proc_open|pcntl_exec|assert|create_function|call_user_func(?:_array)?|file_get_contents|file_put_contents|readfile|highlight_file|show_source|fsockopen|dl|putenv|chmod|move_uploaded_file|array_map|array_filter|usort|register_shutdown_function|preg_replace|base64_decode|gzinflate|str_rot13|unserialize|parse_str|extract|scandir|glob|opendir|curl_exec|ini_set|mail|die|print_r|var_dump|readlink|symlink)\s*\(\s*['\x22$`/@(]?\s*(?:['\x22].*['\x22]\s*[,)]|\$_|chr\s*\(|base64_|gzinflate|str_rot13|hex2bin|/|pack\(|getallheaders|end\(|current\(|\$\w+\s*[)(,\[]|ls\b|id\b|whoami|cat\s|phpinfo|curl\s|\.)",
    ),
    shape(
        4,
        Payload,
        "call of the shell",
        r"(?:^|[^\w.>:$])@?(?:system|exec|passthru|shell_exec|popen|proc_open|pcntl_exec|assert|eval)\s*\(\s*(?:\$_|base64_decode|gzinflate|str_rot13|hex2bin|chr\s*\(|stripslashes|['\x22`]?\s*(?:cat\s+[/.]|whoami|id['\x22`]|uname|ls\s+-?[la/]|nc\s|wget\s|curl\s|ping\s|sleep\s|dir['\x22\s]|net\s+user|echo\s|/bin/|cmd|rm\s+-|phpinfo|system\s*\(|pwd['\x22]|touch\s|powershell|calc|nslookup|ifconfig|print\s*\(|die\s*\())",
    ),
    shape(
        2,
        Probe,
        "nothing but a call",
        r"^[\W\d]{0,6}@?(?:phpinfo|system|exec|eval|passthru|shell_exec|assert|print_r|var_dump|highlight_file|readfile|getcwd|get_current_user|phpversion|php_uname|php_sapi_name|file_get_contents|show_source)\s*\(\s*[^\s)].*\)\s*;?\W{0,6}$",
    ),
    shape(
        3,
        BreakOut,
        "end of a statement, then a call",
        r"(?:[;'\x22)}]|^\.)\s*(?:\.|;)?\s*@?(?:phpinfo|system|passthru|shell_exec|proc_open|popen|assert|var_dump|print\s*\(?\s*(?:md5|`)|echo\s*\(?\s*(?:md5|`|\d+\s*\*)|die\s*\(\s*['\x22]?\w|exit\s*\(\s*\)|highlight_file|print_r\s*\(\s*\$|include\s*\(?\s*['\x22$]|file_put_contents|response\.write|res\.end|print\s+`|puts\s+`|__import__|exec\s*\(\s*['\x22$]|eval\s*\(\s*['\x22$(])\s*\(?",
    ),
    shape(4, Probe, "nothing but phpinfo", r"^[\W\d]{0,6}@?phpinfo\s*\(\s*-?\d*\s*\)\s*;?\W{0,6}$"),
    shape(
        4,
        Probe,
        "mark of a test",
        r"\b(?:md5|sha1|print|echo|print_r|die|crc32|phpversion)\s*\(\s*(?:\d{3,}|['\x22](?:test|\d+|nuclei|acunetix\w*)['\x22]|md5\s*\(|phpversion)\s*\)\s*(?:;|$|\.|\}|\))|\becho\s+(?:md5|phpversion|shell_exec|\d+\s*\*\s*\d+)\b",
    ),
    // Objects.
    shape(
        4,
        Payload,
        "serialised object",
        r"\b[OC]:\+?\d+:\x22[\w\\]+\x22:\d+:\{|\ba:\d+:\{\s*(?:[isbdN]:|\}|[isOa]:\d+)|\bs:\d+:\x22[^\x22]*\x22;\s*[sisOaNbd]:|rO0AB[XQ]|\xac\xed\x00\x05|aced0005|\bH4sIA{4,}|\bAAEAAAD/{4,}|/wEP[\w+/]{8,}|\bgAS[VRWJ]|\bgAN[jcdx]|\bgAJ[jc9]|\bKGxw\w|\bY[23]\w?cG9zaXgKc3lzdGVt|\bc(?:os|posix|nt|subprocess|__builtin__|builtins|commands|sys)\n\w+\n|\x80[\x02-\x05]c?\S{0,8}(?:os|posix|builtin|subprocess)|_\$\$ND_FUNC\$\$_|\x22py/(?:object|reduce|function|type|ref)\S{0,12}\x22\s*:|!!(?:python/(?:object|name|module)|javax?\.|com\.|org\.|ruby|sun\.)\S*|!ruby/(?:object|hash|struct)\S*|\btag:yaml\.org,2002:(?:python|ruby|java)|BAh[bJvU]\w{2,}|\x04\x08o:|<java\b[^>]*class\s*=|<object\s+class\s*=\s*['\x22]java|<void\s+method=|\bObjectDataProvider\b|\bReduce\b.{0,10}__reduce__|\(lp\d\n|\b\(dp\d\n|\btyped_array\b.*gadget|\bysoserial\w*",
    ),
    shape(
        4,
        Payload,
        "type that a reader would make",
        r"['\x22]@?(?:@type|@class|\$type|__type|type)['\x22]\s*:\s*['\x22](?:java[.x]|com\.(?:sun|mchange|zaxxer|alibaba|ibatis)|org\.(?:apache|springframework|hibernate|jboss|codehaus)|System\.|Microsoft\.|ch\.qos|L?com\.)|\bcom\.sun\.(?:rowset|org\.apache|jndi)\.\w|\bJdbcRowSetImpl\b|\bTemplatesImpl\b|\bcommons\.collections\d?\.functors|\bInvokerTransformer\b|\bclass\.module\.classloader|\bclass\.classloader\.|class\[['\x22]?(?:module|classLoader)|\bbeanutils\.BeanComparator|\bdataSourceName['\x22]?\s*:\s*['\x22](?:ldap|rmi)|\bspring\.(?:cloud\.function\.routing|datasource\.hikari\.connection-test-query)|\bautoCommit['\x22]\s*:\s*true",
    ),
    // Java.
    shape(
        2,
        Payload,
        "Java that runs programs",
        r"\bjava\.lang\.(?:Runtime|ProcessBuilder|System|Class|Thread|reflect)\b|\bRuntime\.getRuntime\b|\bProcessBuilder\s*\(|\bjava\.io\.(?:File|BufferedReader|InputStream\w*|FileReader)\s*\(|\bjavax\.naming\.InitialContext|\bjava\.net\.(?:URL|Socket|URLClassLoader)\s*\(|\bgroovy\.(?:lang|util)\.\w*Shell|\bdefineClass\b|\bClassLoader\s*\(\s*\)\s*\.|\.execute\s*\(\s*\)\s*\.text\b|\bSystem\.(?:setSecurityManager|exit|getProperty|getenv)\s*\(|\bThread\.sleep\s*\(\s*\d+\s*\)\s*[})]",
    ),
    shape(
        3,
        Payload,
        "Java that runs a given program",
        r"['\x22]\w[\w /-]*['\x22]\.execute\s*\(\s*\)|(?:getRuntime\s*\(\s*\)\s*\.?\s*exec|ProcessBuilder\s*\(|Runtime\.exec|\.execute\(\)\.text|exec)\s*\(?\s*(?:new\s+(?:java\.lang\.)?String\s*\[\]\s*)?[({]*\s*['\x22](?:/bin|cat\s+/|id\b|whoami|calc|cmd|curl|wget|nc\s|ping|bash|sh\b|touch|nslookup|sleep|open\s|powershell)",
    ),
    // Node and its kin.
    shape(
        4,
        Payload,
        "child process",
        r"\brequire\s*\(\s*['\x22`](?:node:)?child_process['\x22`]\s*\)\s*(?:\.|\[)|\bprocess\s*(?:\.|\[\s*['\x22])(?:mainModule|dlopen|_load|binding['\x22\]]*\s*\(\s*['\x22`])|\bmainModule\s*\.\s*(?:require|constructor)|\bglobal(?:This)?\.process\b|\bmodule\.constructor\._load|\.constructor\s*(?:\.|\[\s*['\x22])constructor|\bconstructor\.constructor\s*\(|\breturn\s+process\b|\b(?:exec|spawn)Sync\s*\(\s*['\x22](?:id|whoami|cat\s|ls|curl|wget|nc|sleep|ping|touch|bash|sh|rm|calc|open|uname|/bin)|\brequire\s*\(\s*['\x22](?:fs|node:fs)['\x22]\s*\)\s*\.\s*(?:read|write|append|unlink|create)\w*\s*\(\s*['\x22`/.]|\bfs\.readFileSync\s*\(\s*['\x22]/etc|\bprocess\.(?:kill|exit)\s*\(\s*(?:process\.pid)?\)\s*[;}]?\s*$|\bimport\s*\(\s*['\x22](?:node:)?(?:child_process|fs)['\x22]\s*\)\s*\.then|\brequire\s*\(\s*['\x22](?:http|https|net|vm|os|dns)['\x22]\s*\)\s*\.\s*\w+\s*\(",
    ),
    shape(
        1,
        Payload,
        "child process by its name",
        r"\brequire\s*\(\s*['\x22`](?:node:)?child_process['\x22`]\s*\)|\bchild_process\b.{0,12}\.exec|\bprocess\.(?:env|cwd|version|exit|kill|argv)\b\s*(?:\(|\)|$)[\s;)}]*$",
    ),
    shape(
        4,
        Payload,
        "prototype set from outside",
        r"['\x22]__proto__['\x22]\s*:|\b__proto__\s*(?:\[\s*['\x22]?\w+['\x22]?\s*\]|\.\w+)\s*=|\[\s*['\x22]?__proto__['\x22]?\s*\]\s*(?:\[|\.|=)|\bconstructor\s*(?:\[\s*['\x22]?prototype['\x22]?\s*\]|\.\s*prototype)\s*(?:\[\s*['\x22]?\w+['\x22]?\s*\]|\.\w+)\s*=|\[\s*['\x22]?constructor['\x22]?\s*\]\s*\[\s*['\x22]?prototype|['\x22]constructor['\x22]\s*:\s*\{\s*['\x22]prototype['\x22]|^__proto__\W",
    ),
    shape(1, Probe, "prototype", r"\b__proto__\b|\bconstructor\.prototype\b"),
    // Python, Ruby and Perl.
    shape(
        4,
        Payload,
        "Python that runs a program",
        r"\b__import__\s*\(\s*['\x22]\w+['\x22]\s*\)\s*\.|\b__builtins__\b\s*[\[.]|\b(?:eval|exec|compile)\s*\(\s*(?:compile|__import__|['\x22](?:__import__|import\s|print\()|base64\.|open\(|chr\()|\bos\.(?:system|popen|exec\w+|spawn\w*)\s*\(\s*['\x22](?:cat\s+/|id\b|whoami|ls|curl|wget|nc\s|sleep|ping|rm\s|bash|sh\s|uname|touch|nslookup|dir|echo|/bin|calc|python)|\bsubprocess\.(?:check_output|Popen|call|run|getoutput)\s*\(\s*\[?\s*['\x22](?:cat\s+/|id['\x22]|whoami|nc\s|bash\s+-|uname|/bin)|\bopen\s*\(\s*['\x22]/(?:etc|proc)/\S+\)?\s*\.?\s*(?:read)?|\bFile\.(?:read|open)\s*\(\s*['\x22]/(?:etc|proc)|\bIO\.(?:popen|readlines|read)\s*\(?\s*['\x22]|\bKernel\.(?:exec|system|open)\b|%x[({\[](?:id|ls|cat|whoami|uname|sleep|curl)|\bbuiltins\.exec|\bimportlib\.import_module\s*\(\s*['\x22](?:os|subprocess)|\btime\.sleep\s*\(\s*\d+\s*\)\s*['\x22)#]",
    ),
    shape(
        1,
        Payload,
        "Python's or Ruby's call of the system",
        r"\bos\.(?:system|popen)\s*\(\s*['\x22]|\bimport\s+os\s*[;,]|\bimport\s+(?:subprocess|socket|pty)\s*[;,]|\bsubprocess\.\w+\s*\(\s*['\x22\[].*shell\s*=\s*true|^\W{0,2}(?:eval|exec|compile)\s*\(\s*[^\s)].*\)$",
    ),
    shape(
        3,
        Payload,
        "ASP or ColdFusion",
        r"\bresponse\.write\s*\(|\bserver\.(?:createobject|mappath|execute)\s*\(|\bcreateobject\s*\(\s*['\x22](?:wscript|scripting|adodb|msxml)|\bnew\s+ActiveXObject\s*\(|\bSystem\.Diagnostics\.Process\b.{0,10}(?:Start|\.)|<cf(?:execute|file|include|query|script|output)\b|<%@?\s*(?:page|language|import|eval|execute|response|request)\b|\bexecute\s*\(\s*request|<%\s*eval\s+request|<asp:",
    ),
    shape(
        3,
        Payload,
        "program in place of a field",
        r"\b(?:expect|allow_url_include|auto_prepend_file|disable_functions|safe_mode|suhosin\.\w+|open_basedir|cgi\.\w+redirect)\s*=\s*\S+|^-d\s*\+?allow_url",
    ),
    shape(
        4,
        Payload,
        "formula of a spreadsheet that runs",
        r"^[=+@-](?:cmd|rundll32|msexcel|mshta)\|\S*|^[=+@-].*\|\s*'\s*/c\s|^=\s*(?:hyperlink|importxml|importdata|importhtml|importfeed|importrange|webservice|dde)\s*\(\s*(?:concat\w*\s*\(\s*)?['\x22](?:https?|ftp)|^@sum\(.*\)\s*\*\s*cmd|^=cmd\b|^=\w{0,12}\([^)]*\)[*+-]cmd\|",
    ),
    shape(
        4,
        Payload,
        "elements of a request to a server page",
        r"\bcmd\.jsp\b|\bc99(?:shell)?\.php|\br57shell|\beval-stdin\.php|\bWScript\.Shell\b|\bshell_exec\s*\(\s*\$",
    ),
    shape(
        4,
        Payload,
        "inclusion of a file from elsewhere",
        r"\b(?:include|require)(?:_once)?[\s(]+['\x22](?:/(?:etc|proc|var|tmp)/|https?:|ftp:|php:|data:|\\\\)",
    ),
    shape(
        4,
        Payload,
        "end of a statement, then the end of the process",
        r"^[^\w\s]{1,4}\s*process\.(?:exit|kill|abort)\s*\(",
    ),
];

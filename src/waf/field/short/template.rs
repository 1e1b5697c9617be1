//! Template engines, expression languages, and loggers' lookups.

use super::Role::{Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        Probe,
        "arithmetic in a template",
        r"(?:\{\{|[$#*@~%]\{\{?|<%=?|\[\[|\{%\s*(?:print|set\s+\w+\s*=)|\{\{=|\{=|@\(|\$\[|\x60\{)\s*['\x22(]*\s*-?\d+['\x22]?\s*\)?\s*[*+/%-]\s*['\x22(]*\d+['\x22)]*(?:\s*[*+/%-]\s*\d+\)?){0,4}\s*(?:\}\}|\}|%>|\]\]|\)|%\}|\])|@\(\d+(?:[*+/%-]\d+){1,6}\)|#\{\s*\d+\s*[*+]\s*\d+",
    ),
    shape(
        4,
        Payload,
        "names behind the template",
        r"(?:\{\{|\{%|[$#*@%]\{|<%)[^}%]*(?:__(?:class|mro|base|bases|subclasses|globals|init|builtins|import|getitem|dict|self|code)__|\bself\._|\|\s*attr\s*\(|\bmro\(\)|_self\.env|\.getClass\w*\b|\bgetProtectionDomain|\bforName\b|\.class\b\s*[.\[]|\bconstructor\b|\bprototype\b|\bos\.(?:popen|system)|\bpopen\s*\(|\bgetRuntime|\bT\s*\(|\bnew\s+java|\bjava\.(?:lang|util|io|net)|\brequire\s*\(|\bprocess\.(?:mainModule|binding|exit|kill|cwd|argv|dlopen)|\bglobal\.|\bexec\s*\(|\bsystem\s*\(|\beval\s*\(|\bfile_get|\bread_?file|\bFile\.(?:open|read)|\bIO\.(?:popen|read)|\bDir\.|\bKernel\b|\bshell_exec|\bpassthru|\bphpinfo|\bget_flashed_messages|\bcycler\b|\bjoiner\b|\blipsum\b|\bnamespace\.__|\brequest\.(?:application|environ|getClass)|\bconfig\.(?:items|from|__)|\bapp\.request|\bapplication\.|\bsession\.setAttribute|\bpageContext\b|\brequestScope|\bapplicationScope|\bparam\.\w+\s*\}|\bfacesContext|\b_memberAccess|\bsubprocess)",
    ),
    shape(
        4,
        Payload,
        "call of the system in a template",
        r"<%=?\s*(?:system|exec|`|%x|IO\.|File\.|Dir\.|eval|import|require|Runtime|out\.print|response\.|request\.|spawn|open\s*\(|@|Process|CreateObject|java\.)|#\{\s*(?:%x|`|system|exec|IO\.|File\.|eval|Kernel|Process|open\s*\(|\w+\.constructor|root\.process|global\.|process\.|function\s*\(|require)|\{php\}|\{/?php|\{\s*(?:system|exec|passthru|phpinfo|shell_exec|eval)\s*\(|\{if\s+(?:phpinfo|system|passthru|exec|readfile)\s*\(|\{\$smarty\.|\{Smarty_|\{literal\}\s*[<{]",
    ),
    shape(
        4,
        Probe,
        "the application's own settings in a template",
        r"^\W{0,8}(?:\{\{|[$#*]\{)\s*(?:config|self|request|settings|_self|dump\s*\(|url_for|_context|\$smarty)\b[^}]*\}\}?\W{0,8}$",
    ),
    shape(
        4,
        Probe,
        "nothing but arithmetic in braces",
        r"^\{\s*\d+\s*[*]\s*\d+\s*\}$|^\W{0,4}\{%\s*debug\s*%\}\W{0,4}$",
    ),
    shape(
        3,
        Probe,
        "template statement that opens the application",
        r"\{%\s*(?:debug|import\s+os|include\s+['\x22]/|load\s+log|extends\s+['\x22]/|for\s+\w+\s+in\s+(?:\(\s*\)|\[\]|''|\x22\x22|self|config|request|\w+\.__)|set\s+\w+\s*=\s*(?:cycler|''|\(\)|request|config)|if\s+(?:''|\(\)|request|config|session|\d+\s*==))|\{\{\s*(?:dump\s*\(\s*\w*\s*\)|['\x22].*['\x22]\s*\|\s*(?:filter|map|reduce|sort|system|passthru|exec)|\[\s*['\x22].*['\x22]\s*(?:,\s*['\x22].{0,10}['\x22])?\]\s*\|\s*(?:filter|map|reduce|sort|join)|#with\s+['\x22]|lookup\s+\(lookup|range\s*\(\s*\d|\s*['\x22]+\s*\.|\(\s*\)\s*\.|\[\]\s*\.)|\{\{\s*['\x22]\w+['\x22]\s*\.\s*(?:to\w+Case|toString|substring|replace|format|constructor)",
    ),
    shape(
        4,
        Payload,
        "walk through classes",
        r"(?:\.|\[['\x22])__(?:class|mro|base|bases|subclasses|globals|init|builtins|dict|code|reduce|getattribute)__['\x22\]]*\s*(?:\(\s*\))?\s*(?:\.|\[)\s*(?:['\x22]?__(?:class|mro|base|bases|subclasses|globals|init|builtins|dict|code|reduce|getattribute|getitem|import)|mro|\d+|\-1)|\|\s*attr\s*\(\s*['\x22](?:__|\\x5f)|__import__\s*\(\s*['\x22](?:os|sys|subprocess|builtins|socket|pty|shutil)|\bgetattr\s*\(.*['\x22]__(?:class|mro|base|subclasses|globals|init|builtins|dict|code|import|getattribute)",
    ),
    shape(
        4,
        Payload,
        "Java reached from an expression",
        r"\bT\s*\(\s*(?:java\.|javax\.|org\.|Runtime|System|['\x22])|\bgetRuntime\s*\(\s*\)\s*\.\s*exec|\bnew\s+(?:java\.(?:lang|io|net|util)\.\w+|ProcessBuilder|javax\.script\.\w+|freemarker\.template)\b|freemarker\.template\.utility|\?new\s*\(\s*\)|\?api\b|\bgetClass\s*\(\s*\)\s*\.\s*(?:forName|getClassLoader|getProtectionDomain|getMethod|getResource|getDeclared)|\.class\.forName\s*\(|\bClass\.forName\s*\(\s*['\x22]java|\bgetEngineByName\s*\(|\bScriptEngineManager\b.*\(|@java\.(?:lang|io|util)\.\w+@|#_?memberAccess|#context\s*\[|\bxwork\.MethodAccessor|\bDEFAULT_MEMBER_ACCESS|\bOgnlContext\b|\(#\w+\s*=|%\{\s*[(#'\x22\d]|#(?:request|session|application|attr|parameters)\s*\[|\b(?:redirect|action|redirectAction):\s*[$%]\{|__\$\{|\bSpelExpression|\bjavax\.(?:el|naming|script|management)\.\w+\s*\(?|\bjava\.lang\.(?:Runtime\s*(?:\.\s*get|[(\]'\x22)@])|ProcessBuilder\s*[.(\]'\x22)@]|System\s*(?:\.\s*[a-z]\w*\s*\(|[(\]'\x22)@]))",
    ),
    shape(
        4,
        Payload,
        "directive that runs",
        r"<#(?:assign|list|if|include|import|function)\s.*(?:\?|Execute|/etc|new\b|\d+\s*\*)|#set\s*\(\s*\$\w+\s*=|#foreach\s*\(\s*\$\w+\s+in|#(?:include|parse|evaluate)\s*\(\s*['\x22$]|\$(?:class|request|context|util|application|ctx)\.(?:inspect|getClass|class|forName|getServlet|getAttribute)|\$\w+\.getClass\(|<%@\s*(?:include|page|import)\b|@\{\s*(?:var\s|int\s|System|Process|//|\d+\s*[-+*/])|@(?:System|import)\b\s*[.(]|\[#(?:assign|list)\b|<%\s*(?:Process|new\s|import)\b|<c:(?:import|out|set)\b|<jsp:|\$\{(?:pageContext|applicationScope|requestScope|sessionScope|header|cookie|initParam)\b|\{\{\s*(?:\.|(?:printf|call|html|js)\s\s*['\x22(]?%?\w*['\x22]?)\s*\}\}.{0,4}$|\{\{\s*\$?\.(?:System|OsCmd|Env|Exec)\b|\btplx?_\w+\s*\(",
    ),
    shape(
        4,
        Payload,
        "lookup of a directory by a logger",
        r"[$%]\{\s*jndi\s*:\s*[\w$\{]+\s*[:\}\{]|\bjndi\s*:\s*(?:ldaps?|rmi|dns|iiop|corba|nis|nds|https?|\$\{)|\$\{(?:\S*j\S*n\S*d\S*i\S*:\s*\S*//)",
    ),
    shape(2, Payload, "lookup of the environment", r"\$\{env:[A-Z_]+\}"),
    shape(4, Payload, "lookup of a secret", r"\$\{env:\w*(?:AWS|SECRET|KEY|TOKEN|PASS)\w*\}|\$\{(?:sys|java):\w"),
    shape(
        3,
        Payload,
        "lookup that makes a letter or tells",
        r"\$\{(?:lower|upper|sys|ctx|main|java|bundle|k8s|docker|web|spring|event|marker|sd|date|log4j|base64|script|dns|url|file|const|properties|xml):[^}\s]|\$\{env:[A-Z_]+:-.?\}|\$\{[^}$]*:-[^}]?\}|\$\{\s*\$\{|\$\{script:javascript",
    ),
    shape(
        4,
        Probe,
        "polyglot of templates",
        r"\$\{\{<%\[|\{\{\s*\}\}\s*\$\{|<%\[%'|\[%'\x22\}\}%\\|\{\{\[\[|\{@\{\{|\{\{#with\s+['\x22]\w*['\x22]\s+as\s+\||\{\{\s*(?:\[\]|''|\x22\x22|\(\))\s*\.\s*(?:class|__)",
    ),
    shape(
        3,
        Payload,
        "edge or angular expression",
        r"\{\{\s*(?:\w+\s*=\s*)?\{?\s*['\x22]?[\w.]*['\x22]?\s*\}?\s*(?:\.constructor|\[\s*['\x22]constructor)|\{\{[^}]*(?:alert|prompt|confirm)\s*[(`]|\$\{[^}]*(?:\.exec\(|\.forName|\.getRuntime|\.readLine|new\s+\w+\(|\bsystem\()|\{\{\s*['\x22a-z]*\s*\}\}\s*\{\{\s*\d",
    ),
    shape(
        4,
        Probe,
        "the application's own objects, listed",
        r"\{\{\s*(?:session|request|config|app|g|settings|self)\.(?:items|environ|config|secret\w*|cookies|keys|values|pop|headers|server|form|args)\b[^}]*\}\}",
    ),
];

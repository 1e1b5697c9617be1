//! SQL: what joins a statement, ends one and begins another, or asks it questions; and what stands behind a quote.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    // A second SELECT. Prose goes on with words, SQL with a list.
    shape(
        4,
        Payload,
        "union select with values",
        r"\bunion[\s(]+(?:(?:all|distinct)[\s(]+)?select[\s(]*(?:(?:all|distinct|top\s+\d+)\s+)?(?:null\b|[-+~!]*\d|@@?\w|'|\x22|\*|[\w.]+\s?\(|0x|\$\$|`)",
    ),
    shape(
        4,
        Payload,
        "union select of columns",
        r"\bunion[\s(]+(?:(?:all|distinct)[\s(]+)?select[\s(]+[\w.\[\]`]+(?:\s*,\s*[\w.\[\]`()@'*]+){0,12}\s+from\s+[\w.\[\]`]+\s*(?:[-#;)'/,]|where\b|limit\b|$)",
    ),
    shape(
        2,
        Payload,
        "union select, more of a list",
        r"\bunion[\s(]+(?:(?:all|distinct)[\s(]+)?select[\s(]+[\w.\[\]`]+\s*(?:,\s*[\w.\[\]`]+\s*){1,12}(?:--|#|;|,\s*[\w.\[\]`]+\s*$)",
    ),
    shape(
        3,
        Payload,
        "a parenthesis, then union select",
        r"[)'\x22\d]\s*union[\s(]+(?:(?:all|distinct)[\s(]+)?select\b",
    ),
    shape(
        2,
        Payload,
        "glued union select",
        r"\bunion\(+select|\bunion(?:all|distinct)?select\b|\buniall?\s?on\b|\bselselect",
    ),
    shape(4, Payload, "procedure analyse", r"\bprocedure\s+analyse\s*\("),
    shape(4, Payload, "select from a table function", r"\bunion\b.*\b(?:table|values)\s*(?:row)?\s*\(\s*\d"),
    // Another statement.
    shape(
        2,
        Payload,
        "stacked definition",
        r";\s*(?:drop|alter|create|truncate|rename)\s+(?:table|database|schema|user|login|view|index|function|procedure|trigger|role|or\s+replace|temp\w*\s+table)\s+[\w\[\x22`']",
    ),
    shape(
        2,
        Payload,
        "stacked change",
        r";\s*(?:insert\s+into\s+[\w.\[`\x22]+\s*[(vs]|delete\s+from\s+[\w\[`\x22]|update\s+[\w.\[`\x22]+\s+set\s+\w+\s*=|grant\s+\w+\s+(?:on|to)|replace\s+into\s|merge\s+into|truncate\s+\w|vacuum\b|attach\s+database|load\s+data)",
    ),
    shape(
        4,
        Payload,
        "stacked delay or execution",
        r";\s*(?:select\s+(?:pg_sleep|sleep|benchmark|\w*delay)\s*\(|waitfor\s+(?:delay|time)|exec(?:ute)?[\s(]+(?:xp_|sp_|master\.|immediate|@|\()|declare\s+@\w|shutdown\s*(?:;|--|with|$)|begin\s+(?:dbms|declare)|copy\s+[\w(].*\s(?:from|to)\s+(?:program|')|set\s+@\w+\s*=|prepare\s+\w+\s+from|call\s+\w+\(|handler\s+\w+\s+open)",
    ),
    shape(3, Payload, "stacked query", r";\s*select\s+(?:[\w.*@]+\s*(?:,|from\b)|\*|@@|\d|'|\()"),
    shape(
        3,
        Payload,
        "a number, then another statement",
        r"^\s*-?\d{1,9}['\x22)]{0,3}\s*;\s*(?:select|insert|update|delete|drop|create|alter|exec|declare|waitfor|truncate|shutdown|set|begin|if|call|use|copy|grant)\b",
    ),
    shape(
        2,
        Probe,
        "statement ended by a comment",
        r";\s*(?:drop|delete|insert|update|create|alter|truncate|select|exec)\b.*(?:--|#|/\*)[\s+-]*$",
    ),
    // Conditions that are always true, or never.
    shape(
        2,
        Probe,
        "number compared to number",
        r"(?:\b(?:or|and|xor|having|where|rlike|not|when|on)|\|\||&&)[\s(!~+-]*\d+(?:\s*[-+*/]\s*\d+){0,8}\)?\s*(?:[=<>]|!=|<>|<=>|like\b|rlike\b|is\b|in\s*\(|between\b|div\b|regexp\b|sounds\s+like)[\s(!~+-]*\d",
    ),
    shape(
        4,
        Probe,
        "a value, then number compared to number",
        r"^\s*[\w.@%-]*['\x22)\]}]*\s*(?:[\s)+]|--|\|\||&&)(?:or|and|xor|having|\|\||&&)[\s(!~+-]+\(*\d+(?:\s*[-+*/]\s*\d+){0,8}\s*(?:[=<>]|!=|<>|<=>|like|rlike|between|regexp)[\s(!~+-]*\d+(?:\s*[-+*/]\s*\d+){0,8}\s*\)*\s*(?:(?:and|or|limit|order|group|union)\b.*)?(?:--[\s+-]*.*|#.*|/\*.*|;.*|)$",
    ),
    shape(
        3,
        Probe,
        "string compared to itself",
        r"\b(?:or|and|xor|having)[\s(!]*(?:'([a-z0-9]{0,3})'\s*(?:=|<|>|like)\s*'|\x22[a-z0-9]{0,3}\x22\s*(?:=|<|>|like)\s*\x22)[a-z0-9]{0,3}(?:['\x22]?\s*(?:--|#|/\*|$)|$)",
    ),
    shape(
        4,
        Probe,
        "a number, then true",
        r"^\s*-?\d+['\x22)]*\s*(?:or|and|xor|\|\||&&|having)\s*[(!~+-]*\s*(?:true|false|not\s|\(\s*select\b|\d+\s*(?:--|#|/\*)|[a-z]{1,3}\s*=\s*[a-z]{1,3}|'.{0,8}'|(?:exists|ascii|substr\w*|length|sleep|if|case|user|mid|ord|char_length|count|isnull)\s*[\s(])\s*.*$",
    ),
    shape(
        3,
        Probe,
        "condition that looks into the schema",
        r"\b(?:and|or|where|having|when|if)[\s(!]*(?:exists\s*\(\s*select|\(?\s*select\s+(?:count|length|substr\w*|mid|ascii|ord|top|case|min|max|\w+\s+from|\*|\d|1)|(?:ascii|ord|substr\w*|mid|length|hex|unicode|char_length|left|right)\s*\(\s*(?:\(?\s*select|substr\w*|mid|lower|upper|user|database|version|current_user|@@|password))",
    ),
    shape(
        3,
        Probe,
        "comparison with a subselect",
        r"(?:=|<|>|\bin|\blike|[(+*/|,-])\s*\(\s*select\s+(?:[\w.@*'\x22]|\()+",
    ),
    shape(
        2,
        Probe,
        "case that chooses",
        r"\bcase\s+when\s*[\w('\x22].+\bthen\b.+\belse\b.*\bend\b|\b(?:if|iif|decode|nvl2)\s*\(\s*(?:\(?\s*select\b|\d+\s*[=<>]\s*\d+|ascii|substr|length|mid|ord|user|database|now)",
    ),
    shape(
        2,
        Probe,
        "order by a column's number",
        r"\b(?:order|group)\s+by\s+\d{1,3}\s*(?:,\s*\d+\s*)*(?:(?:asc|desc)\s*)?(?:--|#|/\*|;)",
    ),
    shape(1, Probe, "order by a column's number at the end", r"\b(?:order|group)\s+by\s+\d{1,3}\s*(?:,\s*\d+\s*)*$"),
    shape(
        4,
        Probe,
        "a number, then order by a number",
        r"^\s*-?\d+['\x22]?\)*\s+(?:order|group)\s+by\s+\d+\s*(?:,\s*\d+\s*)*(?:--.*|#.*|)$",
    ),
    shape(
        2,
        Probe,
        "a value, then order by",
        r"^\s*(?:-?\d+\)*\s*(?:order|group)\s+by\s+\S|[\w@.-]*['\x22]\)*\s*(?:order|group)\s+by\s+(?:\d|\(|[\w.]+\s*(?:--|#|/\*|,|;|having\b)))",
    ),
    shape(
        2,
        Probe,
        "order or group by, then a comment",
        r"\b(?:order|group)\s+by\s+[\w.]+(?:\s*having\s.+)?\s*(?:--|#|/\*)|\bhaving\s+\d+\s*[=<>]\s*\d",
    ),
    shape(2, Probe, "a number, then a comment", r"^\s*-?\d{1,10}\)*\s*(?:--[\s+-]*|/\*.*|;\s*--.*)$"),
    // Functions nobody calls in a title.
    shape(
        4,
        Payload,
        "delay in a condition",
        r"(?:\b(?:and|or|select|xor|if|when|then|else|like|rlike|regexp|in|between|values|set|not|div)\b|[=,(+*/^|&'\x22;%-])[\s(!+-]*(?:sleep\s*\(\s*\(?\s*(?:\d|select|if|'|\()|benchmark\s*\(\s*\d+\s*,|pg_sleep(?:_for)?\s*\(|randomblob\s*\(\s*\d{6}|dbms_pipe\.receive_message\s*\(|dbms_lock\.sleep\s*\(|get_lock\s*\()",
    ),
    shape(
        2,
        Payload,
        "delay",
        r"\bpg_sleep(?:_for)?\s*\(|\bbenchmark\s*\(\s*\d{4,}\s*,|\bdbms_(?:pipe\.receive_message|lock\.sleep)\s*\(|\brandomblob\s*\(\s*\d{6}|\bheavy_query\b",
    ),
    shape(4, Payload, "waitfor", r"\bwaitfor\s+(?:delay|time)\s*\(?\s*['\x22]?\d+:"),
    shape(
        3,
        Payload,
        "function that answers by an error",
        r"\b(?:extractvalue|updatexml|xmltype|gtid_subset|gtid_subtract|st_latfromgeohash|polygon|multipoint|geometrycollection|linestring|multipolygon)\s*\(\s*(?:\(?\s*select|\d+\s*,|concat|rand|null|0x|@|')|\bexp\s*\(\s*~|\b(?:convert|cast)\s*\(\s*(?:\w+\s*,\s*)?\(?\s*(?:select|@@|chr|user|db_name|version|current_user|system_user)|\b(?:ctxsys\.drithsx|utl_inaddr\.get_host|utl_http\.request|dbms_(?:xmlgen|ldap|java|scheduler|xslprocessor|export_extension)|httpuritype|extractvalue\s*\(\s*xmltype)",
    ),
    shape(
        2,
        Probe,
        "tables of the schema",
        r"\binformation_schema\s*\.\s*\w+|\b(?:from|join)\s+(?:sqlite_(?:master|schema)|pg_(?:catalog|user|shadow|tables|database)|sys\.\w+|sysobjects|syscolumns|sysusers|mysql\.\w+|msysobjects|all_tables|user_tables|v\$version|dual\b|master\.\.?\w+)|\bmaster\.\.(?:sysdatabases|syslogins|xp_)",
    ),
    shape(
        2,
        Probe,
        "state of the server",
        r"@@(?:version|datadir|hostname|servername|basedir|global|identity|spid|tmpdir|secure_file|version_compile\w*)\b",
    ),
    shape(
        1,
        Probe,
        "function of the server",
        r"\b(?:version|user|database|schema|current_user|session_user|system_user|db_name|user_name|host_name|connection_id|last_insert_id)\s*\(\s*\)",
    ),
    shape(
        3,
        Payload,
        "function of the server in a condition",
        r"\b(?:and|or|select|xor|union)[\s(!+-]+(?:version|user|database|schema|current_user|session_user|system_user|db_name|user_name|host_name|load_file|group_concat|concat_ws|updatexml|extractvalue|row)\s*\(",
    ),
    shape(
        2,
        Payload,
        "group_concat",
        r"\b(?:group_concat|concat_ws|string_agg|xmlagg|listagg|wm_concat)\s*\(\s*(?:0x|table_name|column_name|schema_name|user|username|login|\w+\s*,\s*(?:0x|char|chr|':'))",
    ),
    shape(
        4,
        Payload,
        "file read or written by SQL",
        r"\bload_file\s*\(\s*(?:'|\x22|0x|char|concat)|\binto\s+(?:out|dump)file\s*['\x22(0]|\bload\s+data\s+(?:local\s+)?infile\b|\b(?:pg_read_file|pg_ls_dir|lo_import|lo_export|openrowset|opendatasource|bulk\s+insert)\s*[\s(]\s*['\x22(]|\bcopy\s+\w+\s+from\s+program\b",
    ),
    shape(
        3,
        Payload,
        "procedure that runs programs",
        r"\b(?:xp_(?:cmdshell|dirtree|regread|regwrite|fileexist|subdirs|enum\w+|servicecontrol|availablemedia|ntsec\w*|loginconfig|terminate\w*)|sp_(?:oacreate|oamethod|executesql|makewebtask|configure|addextendedproc|password|start_job|addsrvrolemember|addlogin))\b\s*(?:[('\x22@\[]|\w+\s*[,=]|$)|\bexec(?:ute)?\s+(?:master|xp_|sp_)",
    ),
    shape(
        3,
        Payload,
        "text written as numbers",
        r"\b(?:char|chr|nchar)\s*\(\s*(?:0x)?\d+\s*\)\s*(?:\|\||\+|&|,)|\bchar\s*\(\s*\d+\s*,\s*\d+|\bconcat\s*\(\s*(?:0x|char|chr|'~'|@@)|\bunhex\s*\(\s*'|(?:=|select|,|like|\()\s*0x[0-9a-f]{8,}",
    ),
    shape(
        4,
        Payload,
        "comment that MySQL runs",
        r"/\*!\d{0,6}\s*(?:union|select|and|or|from|where|concat|group|order|sleep|drop|insert|update|all|having|limit|\(|if|into)\b?|/\*M?!\d{5,6}",
    ),
    shape(
        3,
        Payload,
        "handler, prepared or hidden statement",
        r"\b(?:handler\s+\w+\s+(?:open|read)|prepare\s+\w+\s+from\s+['\x22@]|execute\s+immediate\s+['\x22(]|immediate\s+'|sp_password)\b?",
    ),
    shape(
        1,
        Payload,
        "whole statement",
        r"^\s*\(*\s*(?:select\s+(?:[\w.*`\x22]+(?:\s*,\s*[\w.*`\x22()]+)*|count\(\*\))\s+from\s+\w|insert\s+into\s+\w+\s*(?:\(|values)|update\s+\w+\s+set\s+\w+\s*=|delete\s+from\s+\w+|drop\s+(?:table|database)\s+\w)",
    ),
    shape(
        1,
        Payload,
        "statement that ends with a semicolon",
        r"^\s*(?:select\s.+\sfrom\s+\w+.*|(?:drop|truncate|alter|create)\s+(?:table|database|user)\s+\w+.*|delete\s+from\s+\w+.*|insert\s+into\s.+|update\s+\w+\s+set\s.+);?\s*(?:;|--|#)\s*-?\s*$",
    ),
    shape(
        2,
        Payload,
        "statement that takes it all",
        r"^\s*(?:drop\s+(?:table|database|schema)\s+(?:if\s+exists\s+)?[\w.`]+|truncate\s+table\s+[\w.`]+|delete\s+from\s+[\w.`]+(?:\s+where\s+1\s*=\s*1)?)\s*(?:;|--|cascade)[\s;-]*$",
    ),
    shape(
        2,
        Payload,
        "secrets from a table",
        r"\bselect\b.*\b(?:password|passwd|pass|pwd|hash|secret|credit\w*|ssn|authentication_string|token|api_key)\b.*\bfrom\s+\w*(?:user|admin|member|account|customer|login|card|credential)\w*\s*(?:$|--|;|#|where\b|limit\b|')",
    ),
    shape(
        2,
        Payload,
        "limits of a probe",
        r"\blimit\s+\d+\s*(?:,|offset)\s*\d+\s*(?:--|#|/\*|into\b|procedure\b)|\binto\s+@\w",
    ),
    // Ends of strings without anything behind them.
    shape(
        4,
        BreakOut,
        "quote, then a comment to the end",
        r"^[^'\x22`]*['\x22`]\s*[)\]]*\s*;?\s*(?:--(?:[\s+]+-?[\s+]*-?)?|#|/\*|--\s*\w{1,12}|;?%00|\x00)$",
    ),
    shape(
        2,
        BreakOut,
        "quote at the end of a word",
        r"^[\w.@-]{0,10}\d?['`]+[)\]]*;?$|^['\x22`\\;)]{1,6}$|^\d{1,9}\x22[)\]]+$|^[\w-]+\\?'[\x22)(]+|^\d+\\['\x22]$|^[\w]{1,12}['\x22]{2,4}\)*$",
    ),
    shape(
        2,
        Probe,
        "arithmetic probe",
        r"^\s*\d{1,6}\s*(?:[-+*/]|div|mod|%2b)\s*\(\s*(?:select|case|if|ascii)|^\d{1,6}['\x22]?\s*(?:\|\||\+|-|\*)\s*\(select|^\d+['\x22]\s*(?:\+|\|\|)\s*['\x22]\d*$|^\w{1,12}'(?:\+|\|\||\s)'\w{0,12}$",
    ),
    shape(
        3,
        Payload,
        "dump of the database by JSON or XML",
        r"\bfor\s+(?:xml|json)\s+(?:path|auto|raw)\b.*(?:--|#|$)|\bjson_(?:keys|extract|depth)\s*\(\s*\(?\s*(?:select|convert|')",
    ),
];

/// Shapes that are a statement's own where the text begins as one.
pub(super) const JOINS: &[&str] = &[
    "union select with values",
    "union select of columns",
    "union select, more of a list",
    "a parenthesis, then union select",
    "comparison with a subselect",
    "condition that looks into the schema",
    "case that chooses",
    "number compared to number",
    "function of the server in a condition",
    "stacked definition",
    "stacked change",
    "stacked query",
];

/// From a quote that breaks out on; the first byte is the quote.
pub(super) const BEHIND_QUOTE: &[Shape] = &[
    shape(
        4,
        BreakOut,
        "quote, then a condition",
        r"^['\x22`][\s)\]}/*+]*(?:or|and|xor|having|where|\|\||&&|rlike|not)\b?[\s(!~+*/-]*(?:['\x22`][^'\x22`]*['\x22`]?|-?\d[\w.]*|[\w.@]+(?:\s*\([^)]*\)*)?|\(.+\))[\s)]*(?:[=<>!]|(?:not\s+)?(?:like|in|between|regexp|rlike|similar)\b|is\s+(?:not\s+)?(?:null|true|false)|sounds\b|[-+*/%^|&]{1,2}\s*['\x22\d(])",
    ),
    shape(
        4,
        BreakOut,
        "quote, then a truth and an end",
        r"^['\x22`][\s)\]}]*(?:or|and|xor|\|\||&&)[\s(!~+-]*(?:(?:(?:not\s+)?(?:true|false)|\d+|null|[a-z]{1,3})[\s)]*(?:--|#|/\*|;|limit\b|$)|(?:true|false|null)\s*['\x22]|'[^'\s]{0,12}'?[\s)]*(?:--|#|/\*|;|'|limit\b|$)|\x22[^\x22\s]{0,12}\x22?[\s)]*(?:--|#|/\*|;|\x22|limit\b|$))",
    ),
    shape(
        4,
        BreakOut,
        "quote, then a call",
        r"^['\x22`][\s)\]}]*(?:or|and|xor|\|\||&&|\+|-|\*|/|=|like|in|%|\^|div|when|if|select|union|having|rlike|regexp)[\s(!~+-]*(?:exists|sleep|benchmark|pg_sleep|if|case|ascii|substr\w*|mid|length|ord|char|chr|user|database|version|updatexml|extractvalue|load_file|count|select|row|elt|make_set|convert|cast|exp|hex|waitfor|dbms_\w+|utl_\w+|ctxsys|receive_message|json_\w+|randomblob|isnull|ifnull|nullif|coalesce|upper|lower|left|right|concat|group_concat|bin|conv|rand|floor|sqlite_version|typeof|xmltype|to_char|current_user|system_user|@@\w+)\b[\s.(]|^'[\s)]*,\s*(?:\(\s*select\b|(?:sleep|benchmark|pg_sleep|if|ascii|substr\w*|mid|length|char|chr|user|database|version|updatexml|extractvalue|load_file|count|concat\w*|group_concat|now|hex|cast|convert|randomblob)\s*\()",
    ),
    shape(
        4,
        BreakOut,
        "quote, then another clause",
        r"^['\x22`][\s)\]}/*]*(?:union[\s(/*]+(?:all|distinct|select)|(?:order|group)\s+by\s+[\w(']|having\s+\S|limit\s+\d|procedure\s+analyse|into\s+(?:out|dump)file|into\s+@|waitfor\s|rlike\s|regexp\s|sounds\s+like|collate\s+\w|like\s+['\x22]|between\s+['\x22\d]|in\s*\(\s*['\x22\ds])",
    ),
    shape(
        4,
        BreakOut,
        "quote, then another statement",
        r"^['\x22`][\s)\]}]*;\s*(?:(?:drop|alter|create|truncate)\s+(?:table|database|user|login|view|function|schema|procedure|role|or\b|extension|if\b|temp)|insert\s+into|delete\s+from|update\s+\w+\s+set|select\b|exec\b|execute\b|declare\s+@|declare\b|waitfor\b|shutdown\b|begin\b|call\s+\w|copy\s|grant\s|set\s+[@\w]|use\s+\w+\s*;|if\s*\(|if\s+\d|if\s+exists|merge\s+into|truncate\s|vacuum|attach\s|load\s|rename\s|backup\s|restore\s|dbcc\s|bulk\s|prepare\s|handler\s|do\s+(?:sleep|\$|')|replace\s+into|show\s+\w|desc\s+\w|kill\s+\d|reconfigure|lock\s+table|savepoint|rollback|commit\b)",
    ),
    shape(3, BreakOut, "quote, then a comment", r"^['\x22`][\s)\]}]*;?\s*(?:-{2,4}(?:[\s+]|\w{0,12}$|$)|#\s*$|/\*)"),
    shape(
        3,
        BreakOut,
        "quote joined to a quote",
        r"^['\x22`]\s*(?:\|\||\+|&|\x20)\s*['\x22`](?:\w{0,12}(?:['\x22`]|$)|\s*(?:\|\||\+|&|--|#|;))|^'\s*(?:\|\||\+)\s*(?:\(|\w+\s*\()",
    ),
    shape(
        3,
        BreakOut,
        "quote, then an assignment",
        r"^'\s*,\s*(?:\w+\s*=\s*['\x22\d(]|\(?\s*select\b|'[^']*'\s*\)|(?:now|null|user|version|database|\d+)\s*\(?\)?\s*(?:,|\)|--))|^['\x22]\s*=\s*['\x220]|^'\s*[=<>*/^%-]\s*'|^'\s*[=*/^%+-]\s*\(?\d+\)?\s*[=*/^%+-]\s*'|^'\s*=\s*\d*\s*(?:--|#|or\b|$)|^'\s*(?:<>|!=|<=>|>|<)\s*'|^'\s*(?:is\s+(?:not\s+)?null|=\s*''|like\s*'|between\s)",
    ),
    shape(
        2,
        BreakOut,
        "quote, then a keyword",
        r"^['\x22`](?:[\s)\]}]+(?:union|having)|[)\]}]+\s*(?:or|and|where))\b[\s(]+\S",
    ),
];

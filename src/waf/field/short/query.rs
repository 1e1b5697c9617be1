//! Queries that are not SQL: LDAP filters (RFC 4515), XPath, documents with operators as MongoDB takes them.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    // LDAP. A filter's parentheses open before they close: the other way round is an end of somebody else's.
    shape(
        4,
        BreakOut,
        "end of an LDAP filter and another",
        r"^[^(]*\)\s*(?:%00|\x00)?\(\s*(?:[&|!]\s*\(?\s*)*[a-z][\w;-]+(?::[\w.]+)?\s*(?:[~<>:]?=)\s*[^)\s]*(?:\)|\*|\x00|%00|$)",
    ),
    shape(
        4,
        BreakOut,
        "end of an LDAP filter and an operator",
        r"\)\s*\(\s*[&|!]\s*(?:\(\s*(?:\w+\s*[~<>:]?=|[&|!]|$)|\)|\w+=|$)|\*\s*\)+\s*\(+\s*(?:[&|!]|\w[\w.;:-]*\s*[~<>:]?=)|\)\s*\)\s*\(\s*(?:\|\s*\(|\(\s*\w+\s*=)|\*\s*\)\s*\)\s*(?:%00|\x00)|^\*\s*\)\s*(?:&|\||$)|\)\s*\(\s*\|\s*\(\s*\w+\s*=",
    ),
    shape(
        2,
        Probe,
        "LDAP filter",
        r"\(\s*[&|!]\s*\(+\s*[\w;-]+\s*[~<>]?=|\b(?:objectclass|samaccountname|userpassword|memberof|uid|cn|mail)\s*=\s*\*\s*[)(|&]|^\(\s*(?:objectclass|uid|cn|mail|sn)\s*=\s*[*\w]+\)$",
    ),
    shape(
        2,
        Probe,
        "nothing but a filter",
        r"^\s*\(\s*[&|!]\s*(?:\(\s*[&|!]?\s*\(?\s*[a-z][\w;-]+(?::[\w.]+)?\s*[~<>:]?=[^()]*\)+\s*){1,12}\)*\s*$",
    ),
    shape(2, Probe, "nothing but wild cards", r"^\*(?:\)|\(|\|){1,6}.{0,12}$|^\)\(.{0,12}$|^[\w*]{0,8}\)\(&?\)?$"),
    shape(4, Probe, "probe of a filter", r"^\W{0,4}\*\(\)\|&|^\)\(!\(|^[\w*]{0,12}\)\([&|!]\)?"),
    // XPath.
    shape(
        3,
        Probe,
        "functions over all nodes",
        r"\b(?:string-length|substring|count|name|local-name|normalize-space|starts-with|contains|translate|concat)\s*\(\s*(?:name\s*\(|local-name\s*\(|//?[\w*]+\[?|/\*|\(/|/child::|parent::|text\(\)|\.\s*,|@\w+\s*,\s*['\x22])|\b(?:ancestor|ancestor-or-self|descendant|descendant-or-self|following|following-sibling|preceding|preceding-sibling|child|parent|self|attribute)::(?:node\(\)|\*|text\(\))|/(?:ancestor|descendant|following|preceding|child|parent)(?:-or-self|-sibling)?::|\bposition\s*\(\s*\)\s*=|\blast\s*\(\s*\)\s*-?\d*\s*\]",
    ),
    shape(
        3,
        BreakOut,
        "end of an XPath predicate and another path",
        r"\]\s*(?:\|\s*//|//?\w+\[)|['\x22]\s*\)?\s*\]\s*(?:\|\s*/|//?\s*[\w*@.])|\|\s*//(?:\*|\w+)(?:\[|/|$)|\bor\s+\w+\s*\(\s*\)\s*=|\band\s+count\s*\(/",
    ),
    shape(
        4,
        Payload,
        "document fetched by XPath",
        r"\bdoc(?:ument|-available)?\s*\(\s*(?:concat\s*\(\s*)?['\x22](?:https?|file|ftp):",
    ),
    shape(
        2,
        Probe,
        "path over users",
        r"^\s*//?(?:user|users|accounts?|employees?|\*)(?:/|\[)[\w@\[/*='\x22()]*(?:text\(\)|password|username|@\w+|\*|\d+\])",
    ),
    shape(4, Probe, "path to somebody's secret", r"^\s*//?(?:users?|accounts?|employees?)(?:/\w+)?\[.+=.+\]"),
    // Operators in documents.
    shape(
        3,
        Payload,
        "document with an operator",
        r"\{\s*(?:['\x22]?\w+['\x22]?\s*:\s*\{\s*)?['\x22]?\$(?:gte?|lte?|ne|eq|n?in|regex|where|exists|n?or|and|not|expr|function|accumulator|lookup|type|mod|all|size|elemMatch|comment|text|jsonSchema|func|like|between|notlike|iLike|contains|substring)['\x22]?\s*:",
    ),
    shape(
        2,
        Payload,
        "nothing but a document with an operator",
        r"^\W{0,2}\{\s*(?:['\x22]?\w+['\x22]?\s*:\s*\{\s*)?['\x22]?\$(?:gte?|lte?|ne|eq|n?in|regex|where|exists|n?or|and|not|func|function|expr|size|all|mod|type|elemMatch)['\x22]?\s*:.*\}\W{0,3}$",
    ),
    shape(
        4,
        Payload,
        "operator as the name of a parameter",
        r"\[\s*['\x22]?\$(?:gte?|lte?|ne|eq|n?in|regex|where|exists|n?or|and|not|expr|func|size|all|mod|type|elemMatch|like|between|options)['\x22]?\s*\]\s*(?:\[\s*\d*\s*\]\s*)?(?:=|$)|^\[\$\w+\]",
    ),
    shape(
        3,
        Payload,
        "program for the database",
        r"\$where['\x22]?\s*[:=]\s*['\x22]?\s*(?:\S*\bthis\.|function|sleep|return|\d+\s*==?\s*\d|true|1)|\$(?:function|accumulator)['\x22]?\s*:\s*\{|\bthis\.\w+\s*(?:==|!=|\.match|\.charAt|\.length|\[|>|<|\.constructor|\.startsWith)|\bObject\.keys\(this\)|\btojson\w*\s*\(|\b\w+\s*=\s*new\s+Date\(\)\s*;?\s*do\s*\{|\bmapReduce\s*\(",
    ),
    shape(
        4,
        Payload,
        "nothing but a program for the database",
        r"^\W{0,3}\$where['\x22]?\s*[:=]|^\W{0,4}(?:db|this)\.(?:\w+\.)?(?:drop|dropDatabase|remove|deleteMany|eval|runCommand|adminCommand|insert\w*|injection|getCollectionNames)\s*\(.*\)\W{0,4}$|^\s*(?:\|\||&&)\s*['\x22]?\w{1,6}['\x22]?\s*={2,3}\s*['\x22]?\w{0,6}",
    ),
    shape(
        2,
        Payload,
        "database's call",
        r"\bdb\.(?:\w+\.)?(?:drop|dropDatabase|insert\w*|remove|getCollectionNames|injection|eval|runCommand|adminCommand)\s*\(|['\x22;]\s*db\.\w+\.\w+\(",
    ),
    shape(1, Payload, "loop", r"\b(?:while|for)\s*\([^)]*\)\s*[;{]\s*\}?|\bvar\s+\w+\s*=\s*new\s+Date\s*\(\s*\)\s*;"),
    shape(3, Payload, "another statement that delays", r"['\x22\d]\s*;\s*sleep\s*\(\s*\d{3,}"),
    shape(1, Payload, "delay of milliseconds", r"\bsleep\s*\(\s*\d{3,}\s*\)\s*[;)}&|]"),
    shape(
        3,
        Payload,
        "truth of a program",
        r"^[\w.'\x22]{0,12}\s*(?:\|\||&&)\s*['\x22]?\w{1,6}['\x22]?\s*={2,3}\s*['\x22]?\w{1,6}|\btrue\s*,\s*\$where\s*:|['\x22]?\s*,\s*\$or\s*:\s*\[|;\s*return\s+(?:true|1|this)\b|\|\|\s*(?:1\s*==?\s*1|true|this\.\w+)\s*(?://|%00|\x00|;|$|\|\|)",
    ),
    shape(
        3,
        Payload,
        "commands of a store",
        r"(?:\r\n|\n|%0d%0a)\s*(?:\*\d+\r?\n\$\d|(?:set|get|flushall|config\s+set|eval|slaveof|replicaof|save|del|keys|incr|auth|module\s+load|stats|gets|add|quit|shutdown)\b[^\n]*)",
    ),
    shape(2, Payload, "introspection of GraphQL", r"\b__schema\s*\{|\b__type\s*\(\s*name|\bIntrospectionQuery\b\s*\{"),
    shape(
        4,
        Payload,
        "quoted operator with an empty value or a pattern",
        r"\{\s*['\x22]\$(?:ne|gte?|lte?|n?in|regex|exists|where|not|or|and|func)['\x22]\s*:\s*(?:['\x22]|null|\{|\[|true|undefined)",
    ),
];

/// Shapes that are a path's or a call's own where the text begins as one.
pub(super) const JOINS: &[&str] = &[
    "functions over all nodes",
    "path over users",
    "end of an XPath predicate and another path",
    "document with an operator",
    "nothing but a document with an operator",
];

/// From a quote that breaks out on; the first byte is the quote.
pub(super) const BEHIND_QUOTE: &[Shape] = &[
    shape(
        4,
        BreakOut,
        "quote, then a truth of a program",
        r"^['\x22`][\s)\]}]*(?:\|\||&&|;)\s*(?:['\x22]?\w{1,12}['\x22]?\s*={2,3}\s*['\x22]?\w{0,12}|this\.|true\b|return\s|1\s*==|\(?function|while\s*\(|var\s|it\b|sleep\s*\(|db\.|Object\.|process\.|!|\d)",
    ),
    shape(
        4,
        BreakOut,
        "quote, then an operator",
        r"^['\x22]\s*[}\]]*\s*,\s*['\x22]?(?:\$(?:or|and|where|ne|gt|nor|regex|comment)\b|[\w]{1,16}['\x22]?\s*:\s*\{?\s*['\x22]?\$)",
    ),
    shape(4, BreakOut, "quote, then the end of a predicate", r"^['\x22]\s*\)?\s*\]\s*(?:\||/|%00|\x00|\[|and\b|or\b)"),
    shape(
        4,
        BreakOut,
        "quote, then XPath",
        r"^['\x22]\s*\)?\s*(?:or|and)\s+(?:\(?\s*(?:string-length|substring|count|name|local-name|contains|starts-with|position|last|not|true|false|text|doc|boolean|node|normalize-space)\s*\(|/{1,2}[\w*]|\.\.?/|@\w+|\w+/\w+|ancestor|self::|parent::)",
    ),
    shape(4, BreakOut, "quote, then the end of an LDAP filter", r"^['\x22]\s*\)\s*\(\s*[|&!]?\s*\(?\w+="),
];

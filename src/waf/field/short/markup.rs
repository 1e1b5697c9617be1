//! HTML and script: tags that run something, handlers, URLs that are programs, ends of attributes and script strings.

use super::Role::{BreakOut, Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        Payload,
        "script tag with a program",
        r"<\s*/?\s*script\b[^>]*>[^<>]{0,12}(?:\b(?:var|let|const|new|function|throw)\s|\b(?:alert|confirm|prompt|eval|fetch|import|print|document|window|location|self|top|this|parent|setTimeout|setInterval|onerror|XMLHttpRequest|navigator|console|atob|open|write)\b\s*[(.=\[`{]|[\w$.\[\]'\x22+]+\s?[(=]|\S*\\[ux])|<\s*script\b[^>]{0,12}(?:alert|confirm|prompt)\s*[(`]",
    ),
    shape(
        4,
        Payload,
        "script tag from elsewhere",
        r"<\s*script\b[^>]*\b(?:src|href)\s*=\s*['\x22`]?\s*(?:https?:|//|\\\\|data:|/\\|ftp:|blob:|javascript:)",
    ),
    // A program of the site's own, by its path, is what pages are made of.
    shape(
        2,
        Payload,
        "script tag with a source",
        r"<\s*script\b[^>]*\b(?:src|href)\s*=\s*['\x22`]?\s*(?:[^\s/.@{'\x22`]|/[^\w]|[/.@{][\w./@-]*[^\w\s./@'\x22`>}-])",
    ),
    shape(
        3,
        Payload,
        "script tag, closed",
        r"<\s*script\b[^>]*>.+<\s*/\s*script|<\s*scr(?:<[^>]*>|\s|\x00|/\*.{0,8}\*/)ipt\b|<scr<script>|<\s*script\x20*/\x20*>|<script[/\x0b\x0c][^>]",
    ),
    shape(1, Probe, "script tag", r"<\s*/?\s*script\b"),
    shape(2, Probe, "nothing but a script tag", r"^\W{0,4}<\s*/?script[^>=]*>?\W{0,4}$"),
    shape(
        3,
        BreakOut,
        "end of an element that holds text, then a tag",
        r"<\s*/\s*(?:title|textarea|script|style|noscript|noembed|iframe|xmp|option|select|template|svg|math)\s*[^>]{0,8}>\s*<\s*[a-z!/]",
    ),
    shape(2, BreakOut, "end of a comment, then a tag", r"(?:--!?|\]\])>\s*<\s*[a-z]"),
    // Handlers that run without anybody's doing, or with a program that is a test.
    shape(
        4,
        Payload,
        "handler that runs by itself",
        r"<[a-z!?/][^>]*?[\s/'\x22\x0b\x0c`)]on(?:error|load\w{0,8}|focus(?:in)?|blur|toggle|begin|end|repeat|start|finish|bounce|animation\w{3,10}|transition\w{2,8}|webkit\w{4,20}|pageshow|pagehide|hashchange|popstate|resize|scroll\w{0,3}|mouse\w{2,10}|pointer\w{2,18}|message|beforeunload|unload|afterprint|beforeprint|canplay\w{0,8}|play\w{0,4}|timeupdate|progress|readystatechange|propertychange|activate|beforeactivate|content\w{4,24}|before\w{3,14}|wheel|select\w{0,5}|drag\w{0,5}|drop|copy|cut|paste|show|invalid|search|seek\w{2,3}|stalled|suspend|waiting|volumechange|durationchange|ratechange|cuechange|emptied|touch\w{3,6}|zoom|auxclick|contextmenu|dblclick|filterchange|layoutcomplete|losecapture|rowenter|cellchange|securitypolicyviolation|slotchange|unhandledrejection|webkitplaybacktargetavailabilitychanged)[\s/\x0b\x0c]*=[\s/]*[^\s>{=]",
    ),
    shape(
        4,
        Payload,
        "handler with a test program",
        r"(?:^|[\s/'\x22<>;])on[a-z]{3,30}\s*=\s*['\x22`]?\s*(?:javascript:|\(?\s*(?:alert|confirm|prompt|eval|print|fetch|import|document|window|self|top|parent|globalThis|frames|this\[|location|atob|setTimeout|setInterval|new\s+function|function\s*\(|throw|debugger|\[\]|\{\s*(?:alert|confirm|prompt|eval)|constructor|XMLHttpRequest|navigator|_=|x=|a=)\b?)",
    ),
    shape(
        2,
        Payload,
        "handler in a tag",
        r"<[a-z][^>]*[\s/'\x22]on(?:click|change|submit|input|key\w{2,6}|[a-z]{4,24})\s*=\s*['\x22]?[^\s>{'\x22]",
    ),
    shape(
        3,
        Payload,
        "element that takes the focus and a handler",
        r"\b(?:autofocus|contenteditable|tabindex|accesskey)\b[^>]*\bon[a-z]{4,20}\s*=|\bon[a-z]{4,20}\s*=[^>]*\b(?:autofocus|contenteditable|tabindex|accesskey|style)\b",
    ),
    // URLs that are programs.
    shape(
        4,
        Payload,
        "javascript URL with a program",
        r"j[\x00-\x20]*a[\x00-\x20]*v[\x00-\x20]*a[\x00-\x20]*s[\x00-\x20]*c[\x00-\x20]*r[\x00-\x20]*i[\x00-\x20]*p[\x00-\x20]*t[\x00-\x20]*:[\x00-\x20/%\w*'\x22;:,+-]*(?:alert|confirm|prompt|eval|print|fetch|import|document|window|location|top|self|parent|frames|this|atob|set(?:timeout|interval)|constructor|throw|onerror|string\.|\[|\\|new[\x00-\x20]+function)(?:$|[^\w\s])",
    ),
    shape(
        2,
        Payload,
        "javascript URL",
        r"(?:^|[='\x22(\s])j[\x00-\x1f]*a[\x00-\x1f]*v[\x00-\x1f]*a[\x00-\x1f]*s[\x00-\x1f]*c[\x00-\x1f]*r[\x00-\x1f]*i[\x00-\x1f]*p[\x00-\x1f]*t[\x00-\x1f]*:(?:[^v\s]|v[^o])\S*[(`=]|=\s*['\x22]?javascript:",
    ),
    shape(
        4,
        Payload,
        "torn javascript URL",
        r"ja(?:va)?[\x00-\x1f]+(?:va)?s?c?r?ipt\s*:|java[\x00-\x1f]+script|javas[\x00-\x1f]+cript",
    ),
    shape(
        4,
        Payload,
        "vbscript or similar URL",
        r"(?:^|[='\x22(\s])(?:vbscript|vbs|livescript|mocha|jscript)\s*:\s*\S{0,12}[(\w]",
    ),
    shape(
        3,
        Payload,
        "data URL of a page",
        r"\bdata:\s*(?:text/(?:html|xml|javascript)|application/(?:xhtml\+xml|javascript|x-javascript|ecmascript|xml))[^,]*,\s*\S",
    ),
    shape(2, Payload, "data URL in an attribute", r"=\s*['\x22]?\s*data:\s*(?:text/|application/|image/svg|[,;])"),
    // Elements that load or act.
    shape(
        4,
        Payload,
        "element that loads a program",
        r"<(?:iframe|frame|embed|object|form|button|input|a|area|svg|math|animate|set|use|image|link|base|meta|isindex|video|audio|source|body|table|td|bgsound|img|applet|param|portal|x|html|event-source|mi|maction|annotation\w*)\b[^>]*\b(?:src|srcdoc|href|xlink:href|action|formaction|data|to|from|values|value|background|dynsrc|lowsrc|code|codebase|content|poster|url|manifest)\s*=\s*['\x22`]?\s*(?:[\x00-\x20]*(?:javascript|vbscript|livescript|&Tab;)|data:(?:text|application|image/svg|,|;)|<|&lt;|&#\w+)",
    ),
    shape(4, Payload, "form sent elsewhere", r"\bformaction\s*=\s*['\x22]?\s*(?:https?:)?//"),
    shape(
        4,
        Payload,
        "element from elsewhere, whatever the scheme",
        r"<(?:iframe|frame|embed|object|link|base|form|applet|portal|bgsound|script)\b[^>]*\b(?:src|href|data|action|code|codebase)\s*=\s*['\x22]?\s*(?://|\\\\|https?:[^/])",
    ),
    shape(
        2,
        Payload,
        "element from elsewhere",
        r"<(?:iframe|frame|embed|object|link|base|form|applet|portal|bgsound|body|table)\b[^>]*\b(?:src|href|data|action|background|code|codebase)\s*=\s*['\x22]?\s*https?://",
    ),
    shape(
        2,
        Payload,
        "form for secrets, sent elsewhere",
        r"<form\b[^>]*\baction\s*=\s*['\x22]?\s*(?:https?:)?//[^>]*>.{0,80}<(?:input|button|textarea)\b",
    ),
    shape(
        4,
        Payload,
        "refresh by meta",
        r"<meta\b[^>]*\b(?:http-equiv\s*=\s*['\x22]?\s*(?:refresh|set-cookie|link)[^>]*(?:url|=|content)|content\s*=\s*['\x22]?\s*\d+\s*;\s*url)",
    ),
    shape(
        4,
        Payload,
        "animation of an address",
        r"<(?:animate|set|animatetransform|animatemotion)\b[^>]*\battributename\s*=|<(?:math|svg)\b[^>]*>\s*<(?:a|mi|mtext|script|style|image|use|foreignobject|animate|set|table)\b[^>]*(?:=|>)|\bxlink:href\s*=\s*['\x22]?\s*(?:data|javascript):|<\?xml-stylesheet\s+\w+\s*=|<x:script|xmlns\s*=\s*['\x22]?http://www\.w3\.org/(?:1999/xhtml|2000/svg)['\x22]?[^>]*on\w+\s*=|\bsrcdoc\s*=\s*['\x22]?\s*(?:<|&)",
    ),
    shape(
        4,
        Payload,
        "style that runs or loads",
        r"\bexpression\s*\(\s*(?:alert|eval|document|window|\w+\()|-moz-binding\s*:|\bbehaviou?r\s*:\s*url\s*\(|<style\b[^>]*>[^<]*(?:@import|expression|javascript|url\s*\(\s*['\x22]?//)|\bstyle\s*=\s*['\x22]?[^>]*(?:expression\s*\(|javascript:|behavior:|-moz-binding|@import)|<(?:link|style)\b[^>]*\b(?:import|javascript:)|url\s*\(\s*['\x22]?\s*javascript:",
    ),
    shape(
        2,
        Payload,
        "nested contexts",
        r"<(?:noscript|noembed|xmp|listing|plaintext|math|svg|title|textarea|style|select|template|form)[^>]*>\s*<[^>]*(?:alert|on\w+\s*=|javascript:|</)",
    ),
    shape(
        1,
        Probe,
        "element that is seldom text",
        r"<(?:iframe|embed|object|applet|base|isindex|frameset|marquee|math|bgsound|blink|layer|ilayer|xss|keygen|portal)(?:[\s/>]|$)",
    ),
    shape(
        2,
        Probe,
        "element of a probe",
        r"<(?:xss|isindex|bgsound|layer|ilayer|blink|applet|frameset|event-source|x)\b[^>]*(?:>|=)|^\W{0,4}<(?:h[1-6]|b|i|u|s|a|p|div|marquee)\b[^>]*>\s*(?:xss|test|hack\w*|pwn\w*|inject\w*|\d{1,6}|click\s?me|poc)\s*(?:</\w+>)?$|<plaintext\b",
    ),
    // Programs without a tag around them.
    shape(
        1,
        Payload,
        "test program",
        r"(?:^|[\s;=('\x22`{}:>,/+*-])(?:window\.|self\.|top\.|parent\.|this\.|globalThis\.|frames\.)?(?:alert|confirm|prompt|print)\s*(?:\(\s*(?:\d{1,6}|['\x22`/].*['\x22`/]|document\.\w+|window\.\w+|location(?:\.\w+)?|origin|self|String\.|xss)\s*\)|`[^`]*`|&lpar;)",
    ),
    shape(
        3,
        Payload,
        "nothing but a test program",
        r"^[\W\d]{0,12}(?:window|self|top|parent|this)?[.\[]?['\x22]?(?:alert|confirm|prompt|eval)['\x22]?\]?\s*(?:\((?:[^()\s]+|[^()\s]*\([^()]*\)[^()\s]*)\)|`[^`]*`)[\W\d]{0,12}$",
    ),
    shape(
        2,
        Payload,
        "page's secrets",
        r"\bdocument\s*(?:\.|\[['\x22])\s*(?:cookie|domain|write(?:ln)?|location|documentElement|body|forms|referrer|defaultView)|\blocalStorage\s*\.\s*getItem|\b(?:location|document\.location|window\.location)(?:\.href)?\s*=\s*['\x22`]?(?:https?:|//|javascript)",
    ),
    shape(
        3,
        Payload,
        "page's secrets sent away",
        r"(?:location|\bsrc|\bhref|fetch|open|sendBeacon|XMLHttpRequest|\.get|\.post|Image\(\))[^;]*(?:https?:)?//[^;]*(?:document\.(?:cookie|domain|location)|localStorage|btoa\s*\(|escape\s*\()|new\s+Image\s*\(?\)?\s*\.\s*src\s*=",
    ),
    shape(
        3,
        Payload,
        "function reached by its name",
        r"\b(?:window|self|top|parent|this|frames|globalThis|document)\s*\[\s*(?:['\x22`/]|\w+\[|atob|\d+\s*[,\]])[^\]]*\]\s*(?:\(|`|\[|=)|\[\s*['\x22](?:constructor|filter|map|find|sort|flat|at|concat|alert|eval)['\x22]\s*\]\s*[(\[`]|\b(?:constructor|Function)\s*\(\s*['\x22`][^'\x22`]*['\x22`]\s*\)\s*(?:\(|`)|\.constructor\s*(?:\(|`)|\bReflect\.(?:apply|construct)|\.(?:map|find|filter|every|some|forEach|sort|replace|then|from)\s*\(\s*(?:alert|confirm|prompt|eval|print)\s*\)|\bset\.constructor",
    ),
    shape(3, Payload, "script fetched by a library", r"\$\.(?:getScript|globalEval)\s*\("),
    shape(
        3,
        Payload,
        "program made from text",
        r"\beval\s*\(\s*(?:atob|name|location|unescape|decodeURI\w*|String\.from|\+|window|document|this|/\*|\w+\.\w+\()|\bString\.fromC(?:har|ode)\w*\s*\(\s*\d|\b(?:setTimeout|setInterval|execScript|Function|importScripts|require)\s*(?:\(\s*)?['\x22`]\s*(?:alert|eval|confirm|prompt|document|window|location|fetch)|\batob\s*[(`]\s*['\x22`]?[A-Za-z0-9+/=]{6,}|\bunescape\s*\(\s*['\x22]%|\bimport\s*\(\s*['\x22`](?:https?:|//|data:)",
    ),
    shape(
        4,
        Payload,
        "program of brackets",
        r"(?:\(!\[\]\+\[\]\)|\[\]\[\(!|\(\[\]\[|!!\[\]\+|\+!\+\[\]|\(\{\}\+|\[!\[\]\]|\+\[\]\]\+|\$=~\[\]|\[\]\[\x22\\)",
    ),
    shape(
        3,
        Payload,
        "template literal with a test program",
        r"\$\{\s*(?:alert|confirm|prompt|eval|fetch|document|window|location|self|top|this\.constructor|import|print)\b\s*[(.\[`]|\{\{\s*(?:constructor|\$on|\$eval|toString|x\s*=|a\s*=|'a'|_\w*\.|\[\]|this)\b?[^}]*(?:constructor|alert|eval|prototype|charAt|\$eval|orderBy)|\bng-(?:app|init|csp|focus|click|on)\b[^>]*(?:alert|constructor|\$event|\$eval)|\bv-(?:html|on:\w+|bind:\w+)\s*=\s*['\x22]?[^>]*(?:alert|constructor|_c\.)|\borderBy\s*:\s*['\x22\[]",
    ),
    shape(
        4,
        Payload,
        "chosen look and feel of a test",
        r"\bonerror\s*=\s*(?:alert|eval|confirm|prompt|window|\w{1,3}\b)\s*[;,]\s*throw|\bthrow\s*(?:onerror|\{)\s*=?|\btoString\s*=\s*(?:alert|\\)|\blocation\s*=\s*(?:name|['\x22`]javascript|hash)|\bjavascript\s*:\s*//|\balert\s*\?\.|\b(?:alert|prompt|confirm|eval)\s*(?:\.(?:call|apply|bind)\s*\(|\)\s*\(|;\s*throw)|(?:^|[^\w.\x60-])(?:alert|prompt|confirm|eval)\x60[^\s\x60,.;:]",
    ),
    shape(
        4,
        Payload,
        "old scripting",
        r"&\s*\{\s*(?:alert|document|window)\s*[(.]|<\s*!--\s*#|<\?import\b|<%\s*(?:alert|=)?.{0,12}script|<\s*\?\s*(?:xml|echo)[^>]*(?:alert|script|import)|<xml\b[^>]*\bsrc\s*=",
    ),
];

/// From a quote that breaks out on; the first byte is the quote.
pub(super) const BEHIND_QUOTE: &[Shape] = &[
    shape(
        2,
        BreakOut,
        "quote, then the end of a tag and another",
        r"^['\x22`]\s*[\])}]?\s*;?\s*/?>\s*<?\s*(?:/?[a-z!]|$|<)",
    ),
    shape(
        2,
        BreakOut,
        "quote and >, then a tag that acts",
        r"^['\x22`]\s*/?>\s*<\s*/?\s*(?:script|img|svg|iframe|body|input|video|audio|object|embed|details|marquee|form|a|math|style|link|meta|base|x|button|select|textarea|template|h1|b)\b[^a-z]",
    ),
    shape(
        4,
        BreakOut,
        "quote, then a handler",
        r"^['\x22`][\s/;)+]*(?:\w{2,16}\s*=\s*['\x22]?\w*['\x22]?\s+|autofocus\s+|/){0,3}on[a-z]{3,30}\s*=\s*\S",
    ),
    shape(
        3,
        BreakOut,
        "quote, then an attribute that runs",
        r"^['\x22`][\s/]*(?:style|src|href|formaction|action|autofocus|accesskey|srcdoc|data|background|xlink:href|contenteditable|tabindex)\b\s*(?:=\s*\S*(?:javascript|expression|data:|//|alert|x\b)|\s+on[a-z]{3,20})",
    ),
    shape(
        4,
        BreakOut,
        "quote, then a program",
        r"^['\x22`][\s)\]};,+*/&|^?:%<>=!~-]{1,12}(?:window|self|top|parent|this|frames|globalThis|document)?[.\[]?['\x22]?(?:(?:alert|confirm|prompt|eval|print|fetch|import|setTimeout|setInterval|document\.\w+|window\.\w+|location|console\.log|Function|process\.\w+|require|constructor|String\.from\w*|\$\.get\w*)['\x22]?\]?\s*(?:[(=.\[]|\x60\S)|(?:new\s+Function|throw|document\.|window\.|location)\b|\[\d*\]\s*\.\w+\(|(?:window|self|top|parent|frames|globalThis)\[)",
    ),
    shape(
        3,
        BreakOut,
        "quote, then the end of the script",
        r"^['\x22`][\s)\]};]*<\s*/\s*(?:script|style|title|textarea)",
    ),
];

/// The text without the URLs that are programs in form and do nothing, as links have them that a handler serves; `None` if
/// there are none.
pub(super) fn without_inert(text: &[u8]) -> Option<Vec<u8>> {
    const INERT: &[&[u8]] = &[b"javascript:void(0)", b"javascript:void(0);", b"javascript:;", b"javascript:void 0"];
    let mut at = memchr::memmem::find(text, b"javascript:")?;
    let (mut out, mut rest, mut found) = (Vec::with_capacity(text.len()), text, false);
    loop {
        let (before, url) = rest.split_at_checked(at)?;
        out.extend_from_slice(before);
        // What goes on behind one is a program.
        let ends = |length: &usize| url.get(*length).is_none_or(|byte| b" '\"`>)".contains(byte));
        let known = INERT.iter().filter(|inert| url.starts_with(inert)).map(|inert| inert.len()).find(ends);
        found |= known.is_some();
        let length = known.unwrap_or(b"javascript:".len());
        let (url, behind) = url.split_at_checked(length)?;
        out.extend_from_slice(if known.is_some() { b"#" } else { url });
        rest = behind;
        match memchr::memmem::find(rest, b"javascript:") {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    found.then_some(out)
}

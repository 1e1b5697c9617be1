//! URLs that reach inside, or make a server speak other protocols. A host of one's own network is everyday here; the
//! metadata of a cloud, a number in disguise and a foreign scheme are not.

use super::Role::{Payload, Probe};
use super::shape::{Shape, shape};

/// Wherever it stands.
pub(super) const SHAPES: &[Shape] = &[
    shape(
        4,
        Payload,
        "URL of a cloud's metadata",
        r"://[^/\s]*(?:169\.254\.(?:169\.254|170\.2)|metadata\.google|metadata\.azure|metadata\.goog\b|100\.100\.100\.200|192\.0\.0\.192|instance-data\b|\[?fd00:ec2|\[::ffff:a9fe|\[::ffff:169\.254|rancher-metadata|metadata/v1)|//169\.254\.169\.254|\blatest/meta-data/?\b.{0,12}(?:iam|$)|computemetadata/v1",
    ),
    shape(
        2,
        Probe,
        "address of a cloud's metadata",
        r"\b169\.254\.(?:169\.254|170\.2)\b|\bmetadata\.google\.internal\b",
    ),
    shape(
        4,
        Payload,
        "host as a number",
        r"\bhttps?://(?:[^/\s@]*@)?(?:\d{8,10}\b|0x[0-9a-f]{6,8}\b|0x[0-9a-f]{1,2}\.|0\d{1,3}\.0?\d|127\.\d{1,3}(?::\d+)?(?:/|$|\s)|127\.\d\.\d(?:[:/]|$)|\[(?:0{1,4}:){2,7}\S{0,15}\]|\[::ffff:\S{1,15}\]|0\d{8,12}(?:[:/]|$)|0(?:[:/]|$)|\[::\])",
    ),
    shape(
        4,
        Payload,
        "scheme that speaks another protocol",
        r"\b(?:gopher|dict)://\S|\bldaps?://[^/\s]+[:/]\S*\x00|\b(?:tftp|sftp|netdoc|jar|rmi|iiop|nntp|finger)://(?:\d|\w[\w.-]*[:/]|\[|\{|\$)",
    ),
    shape(2, Payload, "scheme of files or names", r"\b(?:dns|cifs|smb)://(?:\d|\w[\w.-]*[:/]|\[|\{|\$)"),
    shape(
        4,
        Payload,
        "inner service by a URL",
        r"\bhttps?://(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1?\]|10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+|172\.(?:1[6-9]|2\d|3[01])\.\d+\.\d+|0)(?::(?:22|23|25|2375|2376|2379|6379|11211|10250|10255|3306|27017|9200|8500|5984|4243))(?:/(?:_?\w+|_cat|v2/keys|containers|info|images|pods|$)|$)|\bhttps?://[^/\s]*@(?:127\.|localhost|169\.254|10\.|192\.168\.|\[::)|\bhttps?://(?:localtest\.me|lvh\.me|\S*\.(?:nip|xip|sslip)\.io|spoofed\.burp\S*|customer\d*-app-169|localdomain\.pw|1ynrnhl|vcap\.me|127\.0\.0\.1\.\w|kubernetes\.default|\w[\w.-]*\.svc\.cluster\.local)",
    ),
    shape(
        4,
        Probe,
        "host that reports a scanner's call",
        r"\b[\w-]+\.(?:burpcollaborator\.net|oastify\.com|oast\.(?:fun|pro|live|site|online|me)|interact\.sh|interactsh\.com|canarytokens\.\w+|dnslog\.cn|ceye\.io|bxss\.\w+|xss\.ht|ezxss\.\w+|requestbin\.\w+|webhook\.site|pingb\.in|r87\.me|dnsbin\.\w+|vulnweb\.com|eval\.cr)\b",
    ),
    shape(
        3,
        Probe,
        "name of a scanner",
        r"\b(?:acunetix[-_]?\w*|wvstest|netsparker\w*|nessus(?:_|\.|=|test)\w*|sqlmap/|nikto[-/_]\w+|w3af\w*|arachni[-_/]\w*|burp(?:suite|collab\w*)\S{0,12}\.\w|zaproxy\b|appscan\w*|qualys\w*probe|jndiexploit|vega-inject|skipfish|response\.write\(\d+)",
    ),
    shape(
        4,
        Payload,
        "page from elsewhere, cut by a question mark",
        r"(?:^|=)\s*['\x22]?(?:https?|ftps?)://\S+\.(?:txt|php\d?|phtml|inc|jsp|aspx?|dat|gif|jpg)\?+\s*$",
    ),
    shape(
        3,
        Payload,
        "program from elsewhere",
        r"(?:^|=)\s*['\x22]?(?:https?|ftps?)://\S+\.(?:txt|php\d?|phtml|phar|inc|jsp|asp|aspx|cgi|pl|dat|gif|jpg|sh|exe)\?{1,2}(?:&|$|cmd=|c=)|(?:^|=)\s*(?:https?|ftps?)://\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?/\S*\.(?:txt|php\d?|phtml|inc|sh|exe|jsp|asp|pl|cgi|elf|bin)\b|\b(?:https?|ftps?)://\S*(?:c99|r57|b374k|webshell|shell|cmd|backdoor|evil|rfi|malware|payload|exploit|rce)[\w-]*\.(?:txt|php\d?|jsp|aspx?|sh|exe|jpg|gif|dtd|xml|js)\b|^https?://\S+\?{2,}$|^(?:ftp|https?)://\w+:\w+@\d{1,3}\.\d",
    ),
    shape(2, Payload, "nothing but a URL of a directory", r"^\s*ldaps?://\S+$"),
    shape(
        1,
        Payload,
        "URL of a directory with more than a host",
        r"^\s*ldaps?://(?:[^\s/]+/\S|[^\s/]*[^\w\s./:-]|[^\s/]*:(?:[0-24-57-9]|3[0-79]|38[0-8]|6[0-24-9]|63[0-57-9]))",
    ),
];

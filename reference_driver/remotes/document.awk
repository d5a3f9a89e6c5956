# Prints texts of the XML document on standard input, each followed by the byte 036 (record separator), which no XML document can hold.
#
# The arguments are paths: names joined by slashes, from the root with a slash in front (/VM/ID), else below the root (TEMPLATE/CPU).
# NAME[CHILD=TEXT] takes the NAME with such a child; otherwise the first of a name counts. What is not there is printed as empty.
# CDATA sections, entities, comments and attributes are understood; the text of an element is all of its own text.
# Status 1, and nothing printed, if the document is not well formed or has a DTD.

BEGIN {
    for (n = 1; n < ARGC; n++) asked[n] = ARGV[n]
    asked_count = ARGC - 1
    ARGC = 1
    RS = "<"
    split("amp & lt < gt > quot \" apos '", word, " ")
    for (n = 1; n in word; n += 2) entity[word[n]] = word[n + 1]
}

/[\001-\010\013\014\016-\037]/ { bad = 1 }

NR == 1 {
    sub(/^\357\273\277/, "")
    if ($0 ~ /[^ \t\r\n]/) bad = 1
    next
}

{ take(NR > 2 && held != "" ? held "<" $0 : $0) }

END {
    if (bad || depth || held != "" || root == "") exit 1
    for (n = 1; n <= asked_count; n++) printf "%s\036", value[found(asked[n])]
}

# Takes what follows one "<". A section that itself contains a "<" is held until its end has come.
function take(markup) {
    held = ""
    if (markup ~ /^!\[CDATA\[/) section(markup, 9, "]]>", 1)
    else if (markup ~ /^!--/) section(markup, 4, "-->", 0)
    else if (markup ~ /^[?]/) section(markup, 2, "?>", 0)
    else if (markup !~ /^[A-Za-z_\/]/ || !match(markup, /^[^"'>]*(("[^"]*"|'[^']*')[^"'>]*)*>/)) bad = 1
    else tag(substr(markup, 1, RLENGTH - 1), substr(markup, RLENGTH + 1))
}

function section(markup, start, end, is_text, at) {
    at = index(substr(markup, start), end)
    if (!at) {
        held = markup
        return
    }
    if (is_text) text[depth] = text[depth] substr(markup, start, at - 1)
    text[depth] = text[depth] decoded(substr(markup, start + at - 1 + length(end)))
}

function tag(inside, after, name) {
    if (inside ~ /^\//) {
        name = substr(inside, 2)
        sub(/[ \t\r\n]+$/, "", name)
        if (!depth || name != open[depth]) bad = 1
        leave()
    } else {
        name = inside
        sub(/[ \t\r\n\/].*$/, "", name)
        enter(name)
        if (inside ~ /\/$/) leave()
    }
    text[depth] = text[depth] decoded(after)
    if (!depth && after ~ /[^ \t\r\n]/) bad = 1
}

function enter(name) {
    if (!depth && root != "") bad = 1
    if (root == "") root = name
    open[depth + 1] = name
    key[depth + 1] = key[depth] "/" name "[" (++count[key[depth] "/" name]) "]"
    text[++depth] = ""
}

function leave() {
    if (!depth) return
    value[key[depth]] = text[depth]
    depth--
}

function decoded(coded, plain, name) {
    plain = ""
    while (match(coded, /&[#A-Za-z0-9]+;/)) {
        name = substr(coded, RSTART + 1, RLENGTH - 2)
        plain = plain substr(coded, 1, RSTART - 1) (name ~ /^#/ ? character(substr(name, 2)) : entity[name])
        if (name !~ /^#/ && entity[name] == "") bad = 1
        coded = substr(coded, RSTART + RLENGTH)
    }
    return plain coded
}

# Returns the UTF-8 bytes of a numbered character.
function character(digits, base, code, n, digit) {
    base = digits ~ /^x/ ? 16 : 10
    if (base == 16) digits = tolower(substr(digits, 2))
    code = 0
    for (n = 1; n <= length(digits); n++) {
        digit = index("0123456789abcdef", substr(digits, n, 1))
        if (!digit || digit > base) bad = 1
        code = code * base + digit - 1
    }
    if (code > 1114111 || (code < 32 && code != 9 && code != 10 && code != 13)) {
        bad = 1
        return ""
    }
    if (code < 128) return sprintf("%c", code)
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}

# Returns the key of the element that a path names, empty if there is none.
function found(path, steps, last, n, at, name, condition, i) {
    if (path !~ /^\//) path = "/" root "/" path
    last = split(substr(path, 2), steps, "/")
    at = ""
    for (n = 1; n <= last; n++) {
        name = steps[n]
        i = 1
        if (match(name, /\[[^=]+=.*\]$/)) {
            condition = substr(name, RSTART + 1, RLENGTH - 2)
            name = substr(name, 1, RSTART - 1)
            while (i <= count[at "/" name] && !meets(at "/" name "[" i "]", condition)) i++
        }
        if (i > count[at "/" name]) return ""
        at = at "/" name "[" i "]"
    }
    return at
}

function meets(at, condition, equals) {
    equals = index(condition, "=")
    at = at "/" substr(condition, 1, equals - 1) "[1]"
    return (at in value) && value[at] "" == substr(condition, equals + 1) ""
}

# Prints texts of the XML document on standard input, each followed by the byte 036 (record separator), which no XML document can hold.
#
# The arguments are paths: names joined by slashes, from the root with a slash in front (/VM/ID), else below the root (TEMPLATE/CPU).
# NAME[CHILD=TEXT] takes those of a NAME that have such a child, NAME[.=TEXT] those with this text, NAME[2] the second of them, NAME[last()]
# and NAME[last()-1] those at the end; TEXT may stand in quotes. Of several elements the first is printed; %m% in front of a path prints
# the texts of all, joined by blanks. What is not there is printed as empty.
# CDATA sections, entities, comments and attributes are understood; the text of an element is all of its own text.
# Status 1, and nothing printed, if the document is not well formed or has a DTD (255 with pieces).
#
# Variables for other readers: with pieces=1 a text is only the first piece of it, and the status is the number of paths without one; with
# subtree=1 the whole element is printed. Another program beside this one finds the texts in `value`, by keys such as
# /VM[1]/TEMPLATE[1]/CPU[1], and the keys in `order` as they begin.

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
    if (bad || depth || held != "" || root == "") exit pieces ? 255 : 1
    for (n = 1; n <= asked_count; n++) missing += tell(asked[n])
    exit missing
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

function section(markup, start, end, is_text, at, after) {
    at = index(substr(markup, start), end)
    if (!at) {
        held = markup
        return
    }
    after = substr(markup, start + at - 1 + length(end))
    if (is_text) say(substr(markup, start, at - 1))
    keep("<" substr(markup, 1, length(markup) - length(after)))
    plain(after)
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
        enter(name, inside)
        if (inside ~ /\/$/) leave()
    }
    if (!depth && after ~ /[^ \t\r\n]/) bad = 1
    plain(after)
}

function enter(name, inside) {
    if (!depth && root != "") bad = 1
    if (root == "") root = name
    open[depth + 1] = name
    key[depth + 1] = order[++elements] = key[depth] "/" name "[" (++count[key[depth] "/" name]) "]"
    text[++depth] = ""
    said[depth] = 0
    sub(/[ \t\r\n]*\/?$/, "", inside)
    keep("<" inside ">")
    begins[key[depth]] = kept
}

function leave() {
    if (!depth) return
    if (said[depth]) value[key[depth]] = text[depth]
    if (kept == begins[key[depth]]) sub(/>$/, "/>", piece[kept])
    else keep("</" open[depth] ">")
    ends[key[depth]] = kept
    depth--
}

# Takes text between markup.
function plain(after) {
    if (after == "") return
    keep(after)
    say(decoded(after))
}

function say(words) {
    if (!said[depth] || !pieces) text[depth] = text[depth] words
    said[depth] = 1
}

function keep(markup) {
    if (subtree) piece[++kept] = markup
}

function decoded(coded, plain_text, name) {
    plain_text = ""
    while (match(coded, /&[#A-Za-z0-9]+;/)) {
        name = substr(coded, RSTART + 1, RLENGTH - 2)
        plain_text = plain_text substr(coded, 1, RSTART - 1) (name ~ /^#/ ? character(substr(name, 2)) : entity[name])
        if (name !~ /^#/ && entity[name] == "") bad = 1
        coded = substr(coded, RSTART + RLENGTH)
    }
    return plain_text coded
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

# Prints what a path leads to. Returns 1 where pieces are asked for and there is none.
function tell(path, all, n, out) {
    all = sub(/^%m%/, "", path)
    select(path)
    out = ""
    for (n = 1; n <= found && (all || n == 1); n++) {
        out = out (n > 1 ? " " : "") (subtree && !all ? element(node[n]) : words_of(node[n]))
    }
    printf "%s\036", out
    return pieces && !all && (!found || (!subtree && !(node[1] in value)))
}

# Returns the text of an element. Asking `value` itself would make one.
function words_of(at) {
    return (at in value) ? value[at] "" : ""
}

function element(at, n, out) {
    out = ""
    for (n = begins[at]; n <= ends[at]; n++) out = out piece[n]
    return out
}

# Sets `node` and `found` to the keys of the elements that a path names, in the order of the document.
function select(path, name, conditions, n, i, last, before, parent) {
    if (path !~ /^\//) path = "/" root "/" path
    found = 1
    node[1] = ""
    while (path != "" && found) {
        path = substr(path, 2)
        match(path, "^[^[/]*")
        name = substr(path, 1, RLENGTH)
        path = substr(path, RLENGTH + 1)
        match(path, /^(\[([^]"']|"[^"]*"|'[^']*')*\])*/)
        conditions = substr(path, 1, RLENGTH)
        path = substr(path, RLENGTH + 1)
        before = found
        for (n = 1; n <= before; n++) parent[n] = node[n]
        found = 0
        for (n = 1; n <= before; n++) {
            last = count[parent[n] "/" name]
            for (i = 1; i <= last; i++) candidate[i] = parent[n] "/" name "[" i "]"
            last = filtered(last, conditions)
            for (i = 1; i <= last; i++) node[++found] = candidate[i]
        }
        if (path != "" && path !~ /^\//) found = 0
    }
}

# Leaves in `candidate` those that meet all conditions, [..][..]; returns how many.
function filtered(many, conditions, condition, kept_many, i, wanted) {
    while (match(conditions, /^\[([^]"']|"[^"]*"|'[^']*')*\]/)) {
        condition = substr(conditions, 2, RLENGTH - 2)
        conditions = substr(conditions, RLENGTH + 1)
        wanted = 0
        if (condition ~ /^[0-9]+$/) wanted = condition + 0
        else if (condition ~ /^last\(\)(-[0-9]+)?$/) wanted = many - substr(condition, 8)
        kept_many = 0
        for (i = 1; i <= many; i++) {
            if (condition ~ /^([0-9]+|last\(\)(-[0-9]+)?)$/ ? i == wanted : meets(candidate[i], condition)) candidate[++kept_many] = candidate[i]
        }
        many = kept_many
    }
    return many
}

function meets(at, condition, equals, child, wanted, i) {
    equals = index(condition, "=")
    child = equals ? substr(condition, 1, equals - 1) : condition
    wanted = substr(condition, equals + 1)
    if (wanted ~ /^(".*"|'.*')$/) wanted = substr(wanted, 2, length(wanted) - 2)
    if (child == ".") return words_of(at) == wanted ""
    for (i = 1; i <= count[at "/" child]; i++) {
        if (!equals || words_of(at "/" child "[" i "]") == wanted "") return 1
    }
    return 0
}

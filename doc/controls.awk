# The controls' reference as man(7) source, out of src/ctl/ctl.def:
#
#     awk -f doc/controls.awk src/ctl/ctl.def
#
# Each name's first component is a subsection; names of one component share one.
# Written for POSIX awk.

BEGIN {
	ctype["BOOL"] = "bool"
	ctype["UNSIGNED"] = "unsigned"
	ctype["SIZE"] = "size_t"
	ctype["SSIZE"] = "ssize_t"
	ctype["U64"] = "uint64_t"
	ctype["STRING"] = "const char *"
	ctype["POINTER"] = "void *"
	ctype["VOID"] = "void"
	access["R"] = "r"
	access["W"] = "w"
	access["RW"] = "rw"
	access["X"] = "-"
	unit["UNIT_NONE"] = ""
	unit["UNIT_BYTES"] = "bytes"
	unit["UNIT_MILLISECONDS"] = "milliseconds"
	unit["UNIT_NANOSECONDS"] = "nanoseconds"
	unit["UNIT_BASIS_POINTS"] = "1/100 %"
	macro = ""
}

function fail(what)
{
	printf "%s:%d: %s\n", FILENAME, FNR, what > "/dev/stderr"
	failed = 1
	exit 1
}

# The arguments of the call that text starts with (after its "("), into argument[1..];
# returns how many. rest: what follows the ")". Commas in strings and in
# parentheses do not separate.
function arguments(text,    i, c, n, depth, quoted, piece)
{
	n = 0
	depth = 0
	quoted = 0
	piece = ""
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		if (quoted) {
			if (c == "\\") {
				piece = piece c
				c = substr(text, ++i, 1)
			} else if (c == "\"") {
				quoted = 0
			}
		} else if (c == "\"") {
			quoted = 1
		} else if (c == "(") {
			depth++
		} else if (c == ")" && depth > 0) {
			depth--
		} else if (c == ")" || (c == "," && depth == 0)) {
			sub(/^[ \t]+/, "", piece)
			sub(/[ \t]+$/, "", piece)
			argument[++n] = piece
			piece = ""
			if (c == ")") {
				rest = substr(text, i + 1)
				return n
			}
			continue
		}
		piece = piece c
	}
	fail("no closing parenthesis")
}

# A C string, or several one after the other, without its quotes.
function unquote(text,    out, i, c, quoted)
{
	out = ""
	quoted = 0
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		if (c == "\"")
			quoted = !quoted
		else if (quoted && c == "\\")
			out = out substr(text, ++i, 1)
		else if (quoted)
			out = out c
	}
	return out
}

# For man(7): no character that troff takes for something else.
function escaped(text)
{
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	gsub(/'/, "\\(aq", text)
	gsub(/\^/, "\\(ha", text)
	gsub(/~/, "\\(ti", text)
	gsub(/`/, "\\(ga", text)
	if (text ~ /^\./)
		text = "\\&" text
	return text
}

function known(table, key)
{
	if (!(key in table))
		fail("unknown: " key)
	return table[key]
}

function row(name, type, how, what, help,    first, tail, line)
{
	first = name
	if (!sub(/\..*/, "", first))
		first = "General"
	if (!(first in rows))
		order[++groups] = first
	line = ".TP\n.BR " escaped(name) " \" (" known(ctype, type)
	line = line ", " known(access, how)
	if (known(unit, what) != "")
		line = line ", " unit[what]
	line = line ")\"\n"
	tail = escaped(help)
	if (tail !~ /[.?!]$/)
		tail = tail "."
	rows[first] = rows[first] line tail "\n"
	count++
}

# One row of the table, which starts with "KIND(".
function parse(text,    kind, n)
{
	kind = text
	sub(/\(.*/, "", kind)
	n = arguments(substr(text, length(kind) + 2))
	if (kind == "STAT" && n == 7)
		row(unquote(argument[2]), argument[3], "R", argument[5],
		    unquote(argument[7]))
	else if (kind == "CTL" && n == 6)
		row(unquote(argument[2]), argument[3], argument[4], argument[5],
		    unquote(argument[6]))
	else if (kind == "CONSTANT" && n == 6)
		row(unquote(argument[2]), argument[3], "R", argument[4],
		    unquote(argument[6]))
	else if (kind == "OPTION" && n == 3)
		row("opt." argument[1], argument[2], "R", "UNIT_NONE",
		    unquote(argument[3]))
	else if (kind in body && n == parameters[kind])
		expand(kind)
	else
		fail("not a row: " text)
}

# A macro of the table: its rows, with the arguments in place of the parameters.
# Only the name and what is in quotes matters, and a name is either a string or
# a parameter that is one.
function expand(kind,    text, i, here)
{
	text = body[kind]
	for (i = 1; i <= parameters[kind]; i++)
		here[i] = argument[i]
	for (i = 1; i <= parameters[kind]; i++)
		text = replaced(text, parameter[kind, i], here[i])
	while (text ~ /^[A-Z_]+\(/) {
		parse(text)
		text = rest
		sub(/^[ \t]+/, "", text)
	}
	rest = ""
}

# text with word, where it stands alone outside of strings, replaced.
function replaced(text, word, value,    out, i, c, quoted, token)
{
	out = ""
	quoted = 0
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		if (!quoted && c ~ /[A-Za-z_]/) {
			token = substr(text, i)
			match(token, /^[A-Za-z_0-9]+/)
			token = substr(token, 1, RLENGTH)
			i += RLENGTH - 1
			out = out (token == word ? value : token)
			continue
		}
		if (quoted && c == "\\") {
			out = out c
			c = substr(text, ++i, 1)
		} else if (c == "\"") {
			quoted = !quoted
		}
		out = out c
	}
	return out
}

/^\/\*/ { comment = 1 }
comment {
	if (/\*\//)
		comment = 0
	next
}

# A line that goes on.
continued != "" {
	$0 = continued $0
	continued = ""
}

/\\$/ {
	continued = substr($0, 1, length($0) - 1) " "
	next
}

/^#define[ \t]/ {
	text = $0
	sub(/^#define[ \t]+/, "", text)
	kind = text
	sub(/\(.*/, "", kind)
	n = arguments(substr(text, length(kind) + 2))
	parameters[kind] = n
	for (i = 1; i <= n; i++)
		parameter[kind, i] = argument[i]
	text = rest
	gsub(/[ \t]+/, " ", text)
	sub(/^ /, "", text)
	body[kind] = text
	next
}

/^#/ { next }

/^[A-Z_]+\(/ { parse($0); next }

/[^ \t]/ { fail("not understood: " $0) }

END {
	if (failed)
		exit 1
	if (continued != "" || comment || !count)
		fail("the table ends in the middle")
	for (g = 1; g <= groups; g++) {
		printf ".SS %s\n", escaped(order[g])
		printf "%s", rows[order[g]]
	}
}

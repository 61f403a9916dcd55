"""FlowScript files for `fuzz_files.py`: evil ones, those that lie beside them, and how files of this language are mutated."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIX = ".flow.md"


def script(body: str, front: str = "") -> str:
    """A whole file."""
    return f"---\nname: evil\nversion: 1.0\n{front}---\n<workflow>\n{body}\n</workflow>\n"


def nest(depth: int, before: str, leaf: str, behind: str) -> str:
    """`leaf` with so many of these around it, each with its number for `@`."""
    opened = "".join(before.replace("@", str(at)) for at in range(depth))
    return opened + leaf + "".join(behind.replace("@", str(at)) for at in reversed(range(depth)))


def many(count: int, form: str, between: str = "") -> str:
    """So many of these, each with its number for `@`, that of the next for `#`."""
    return between.join(form.replace("@", str(at)).replace("#", str((at + 1) % count)) for at in range(count))


LEAF = '<transform id="leaf" type="map"><expression>1</expression></transform>'
MAP = '<transform id="m@" type="map"><expression>1</expression></transform>'
BLOCKS = {
    "phases": ('<phase id="b@">', "</phase>"),
    "ifs": ('<if id="b@" condition="true"><then>', "</then></if>"),
    "elses": ('<if id="b@" condition="1 &gt; 2"><then></then><else>', "</else></if>"),
    "branches": ('<branch id="b@"><case when="1 == 1">', "</case></branch>"),
    "defaults": ('<branch id="b@"><case when="1 == 2"><set var="x" value="1"/></case><default>', "</default></branch>"),
    "loops": ('<loop id="b@" max="1">', "</loop>"),
    "whiles": ('<while id="b@" condition="$iteration == 0"><do>', "</do></while>"),
    "foreaches": ('<foreach id="b@" collection="[@]" item="i@">', "</foreach>"),
    "timeouts": ('<timeout id="b@" duration="1h">', "</timeout>"),
    "parallels": ('<parallel id="b@"><branch>', "</branch></parallel>"),
    "tries": ('<phase id="b@"><on-error><retry max="1"/></on-error>', "</phase>"),
    "tried foreaches": ('<foreach id="b@" collection="[1]"><on-error><retry max="1"/><continue/></on-error>', "</foreach>"),
}  # fmt: skip
"""Every block that may stand in itself."""
DEEPEST = 99
"""So many of them, beside that of the workflow itself."""


def deep(name: str, depth: int = DEEPEST, leaf: str = LEAF) -> str:
    """Blocks of one kind, one in the other."""
    return script(nest(depth, BLOCKS[name][0], leaf, BLOCKS[name][1]))


def _mixed() -> str:
    kinds = list(BLOCKS.values())
    opened = [kinds[at % len(kinds)] for at in range(DEEPEST)]
    text = "".join(before.replace("@", str(at)) for at, (before, _) in enumerate(opened))
    return script(text + LEAF + "".join(behind for _, behind in reversed(opened)))


EVIL: dict[str, str] = {
    **{f"100 {name}": deep(name) for name in BLOCKS},
    **{f"120 {name}": deep(name, 120) for name in BLOCKS},
    "all blocks": _mixed(),
    "names from the bottom": script(nest(99, '<phase id="b@">', '<transform id="leaf" type="map"><expression>[' + many(99, "b@.status", ", ") + "]</expression></transform>", "</phase>")),
    "names from outside": script(nest(99, '<phase id="b@">', LEAF, "</phase>") + '<transform id="t" type="map"><expression>[' + many(99, "b@.output, b@.leaf", ", ") + ", leaf]</expression></transform>"),
    "many nodes deep down": script(nest(99, '<phase id="b@">', many(2000, MAP), "</phase>")),
    "nodes on all levels": script(nest(99, '<if id="b@" condition="true"><then>' + many(15, MAP).replace('"m', '"m@-'), LEAF, "</then></if>")),
    "2,000 ids": script(many(2000, MAP)),
    "a chain of 2,000": script(many(2000, '<transform id="m@" type="map" input="m#"><expression>1</expression></transform>').replace('input="m0"', "")),
    "all name all": script(many(200, '<transform id="m@" type="map"><expression>[' + ", ".join(f"m{at}" for at in range(200)) + "]</expression></transform>")),
    "many cycles": script(many(3000, '<transform id="a@" type="map" input="b@"><expression>1</expression></transform><transform id="b@" type="map" input="a@"><expression>1</expression></transform>')),
    "a cycle of 300": script(many(300, '<transform id="m@" type="map"><expression>m#</expression></transform>')),
    "a cycle of 300 inputs": script(many(300, '<phase id="p@"><transform id="m@" type="map" input="m#"><expression>1</expression></transform></phase>')),
    "cycles in order": script('<if id="i" condition="true"><then>' + many(300, '<transform id="m@" type="map"><expression>m#</expression></transform>') + "</then></if>"),
    "a ring of fallbacks": script(many(300, '<transform id="m@" type="map"><expression>1</expression><on-error><fallback node="m#"/></on-error></transform>')),
    "a chain of fallbacks": script('<transform id="m300" type="map"><expression>1</expression></transform>' + "".join(f'<transform id="m{at}" type="map"><expression>1</expression><on-error><fallback node="m{at + 1}"/></on-error></transform>' for at in range(300))),
    "fallbacks of fallbacks": script("".join(f'<transform id="m{at}" type="map"><expression>1</expression><on-error><fallback node="m{at + 1}" when="true"/><fallback node="m{at + 2}"/></on-error></transform>' for at in range(60)) + '<transform id="m60" type="map"><expression>1</expression></transform><transform id="m61" type="map"><expression>1</expression></transform>'),
    "one fallback of all": script(many(1500, '<transform id="m@" type="map"><expression>1</expression><on-error><fallback node="last"/></on-error></transform>') + '<phase id="last">' + many(1500, '<transform id="n@" type="map"><expression>m@</expression></transform>') + "</phase>"),
    "fallbacks in blocks": script('<transform id="z" type="map"><expression>1</expression></transform>' + "".join(f'<phase id="p{at}"><transform id="q{at}" type="map"><expression>1</expression><on-error><fallback node="p{at + 1}"/></on-error></transform><transform id="r{at}" type="map"><expression>1</expression><on-error><fallback node="p{at + 1}"/></on-error></transform></phase>' for at in range(40)) + '<phase id="p40"><set var="x" value="1"/></phase>'),
    "fallback to itself": script('<phase id="a"><transform id="b" type="map"><expression>1</expression><on-error><fallback node="a"/><fallback node="b"/><fallback node="c"/></on-error></transform></phase><timeout id="t" duration="1s" on-timeout="t"><transform id="u" type="map"><expression>1</expression><on-error><fallback node="t"/></on-error></transform></timeout>'),
    "conditions of retries": script('<transform id="a" type="map"><expression>1</expression><on-error><retry when="upper([1])"/></on-error></transform><transform id="b" type="map" timeout="1s"><expression>1</expression><on-error><retry when="upper([error])" max="2"/><fallback node="a" when="error.x.y.z"/></on-error></transform>' + many(400, '<source id="s@" type="http" url="http://x/"><on-error><retry when="reduce(range(0, 90000), (a, b) =&gt; a, 1) == 1"/></on-error></source>')),
    "many duplicate ids": script(many(3000, '<transform id="m" type="map"><expression>1</expression></transform>')),
    "many sets of one name": script(many(4000, '<set var="x" value="{{x}}"/>')),
    "many sets and contexts": script(many(1000, '<set var="x@" value="@"/>') + many(1000, '<transform id="m@" type="map"><expression>$context</expression></transform>')),
    "many phases of one name": script(many(2000, '<phase name="x"><set var="a" value="1"/></phase>')),
    "many unknown names": script(many(3000, '<transform id="m@" type="map"><expression>nope@ + $nope@ + $config.c@ + $secrets.S@</expression></transform>')),
    "many unknown ids": script(many(2000, '<transform id="m@" type="map" input="nope@"><expression>1</expression><on-error><fallback node="mm@"/></on-error></transform>')),
    "many unknown functions": script(many(2000, '<transform id="m@" type="map"><expression>uper@(1)</expression></transform>')),
    "many unknown tags": script(many(3000, "<sorce@>x</sorce@>")),
    "many unknown attributes": script(many(300, '<transform id="m@" type="map" ' + " ".join(f'a{at}="1"' for at in range(60)) + "><expression>1</expression></transform>")),
    "an attribute flood": script('<transform id="a" type="map" ' + many(5000, 'x@="@" ') + "/>"),
    "attributes of all": script(many(1100, "<set " + " ".join(f'a{at}="b"' for at in range(99)) + "/>")),
    "an element flood": script("<set/>" * 60_000),
    "unknown elements of any depth": script("<x>" * 240 + "</x>" * 240),
    "too deep": script("<x>" * 100_000),
    "fields in fields": script('<source id="a" type="http" url="http://x/"><body>' + nest(200, "<k@>", "v", "</k@>") + "</body></source>"),
    "many fields": script('<source id="a" type="http" url="http://x/"><headers>' + many(9000, "<k@>{{@}}</k@>") + "</headers><headers/></source>"),
    "hyphens": script('<transform id="a-b" type="map"><expression>1</expression></transform><transform id="a-b-c" type="map"><expression>' + "-".join(["a"] * 2000) + ' + a-b-c-1 - a-b</expression></transform>'),
    "many hyphens": script(many(80, '<transform id="' + "a-" * 60 + '@" type="map"><expression>' + "-".join(["a"] * 300) + "</expression></transform>")),
    "long ids": script(many(300, '<transform id="' + "i" * 195 + '@" type="map"><expression>1</expression></transform>') + '<transform id="' + "x" * 20_000 + '" type="map"/>'),
    "deep expressions": script('<transform id="a" type="map"><expression>' + "(" * 98 + "1" + ")" * 98 + '</expression></transform><set var="x" value="{{' + "[" * 99 + "1" + "]" * 99 + '}}"/><if id="i" condition="' + "!" * 90 + 'true"><then/></if><set var="y" value="{{' + "{a: " * 49 + "1" + "}" * 49 + '}}"/>'),
    "too deep expressions": script('<transform id="a" type="map"><expression>' + "(" * 400 + "1" + ")" * 400 + '</expression></transform><set var="x" value="{{' + "-" * 3000 + '1}}"/><foreach id="f" collection="' + "map([1], x =&gt; " * 300 + "1" + ")" * 300 + '"><set var="y" value="{{' + "1 ? 1 : " * 500 + '1}}"/></foreach>'),
    "long expressions": script('<transform id="a" type="map"><expression>' + " + ".join(["1"] * 2400) + '</expression></transform><transform id="b" type="map"><expression>' + " + ".join(["1"] * 20_000) + "</expression></transform>"),
    "long chains": script('<transform id="a" type="map"><expression>1</expression></transform><transform id="b" type="map" input="a' + ".x" * 3000 + '"><expression>a' + "[0]" * 3000 + " + a" + ".output" * 900 + "</expression></transform>"),
    "a long input": script(MAP.replace("@", "") + '<transform id="t" type="map" input="' + ", ".join(["m"] * 9000) + '"><expression>1</expression></transform>'),
    "an input of anything": script(MAP.replace("@", "") + many(50, '<transform id="t@" type="map" input="' + "m[[[[" * 900 + '"/>') + '<transform id="u" type="map" input="' + "m .a " * 5000 + '"/>'),
    "expressions that cost": script(many(300, '<if id="i@" condition="reduce(range(0, 90000), (a, b) =&gt; a, 1) &gt; @"><then>' + MAP + "</then></if>") + many(300, '<foreach id="f@" collection="range(0, 100000)"><set var="x" value="1"/></foreach>')),
    "values that cost": script(many(300, '<set var="x@" value="{{repeat(\'x\', 1000000)}}"/><delay duration="{{range(0, 90000)}}"/>') + many(50, '<loop id="l@" max="{{length(repeat(\'x\', 1000000))}}"><set var="z" value="{{match(repeat(\'a\', 50), \'(a|a)*b\')}}"/></loop>')),
    "foreaches of foreaches": script(nest(12, '<foreach id="f@" collection="range(0, 1000)">', LEAF, "</foreach>")),
    "many templates": script('<transform id="a" type="template"><template>' + "{{ 1 }}" * 9000 + "</template></transform>"),
    "many templates in YAML": script('<source id="a" type="http"><request>\nurl: http://x/\nheaders:\n' + many(3000, "  k@: a {{ @ }} b {{ '}}' }}\n") + "</request></source>"),
    "many bad templates": script(many(2000, '<set var="x@" value="{{ nope@ + }}"/>')),
    "unclosed templates": script('<set var="a" value="{{ x"/><set var="b" value="{{ \'x }}"/><set var="c" value="{{ ( }}"/><set var="d">{{ }</set><transform id="t" type="template"><template>{{ {a: 1} }} }} {{</template></transform><set var="e" value="\\{{ }} {{ \'}}\' }} {{}}"/>' + '<set var="f" value="{{ ("/>' * 1000),
    "braces": script('<set var="a" value="' + "{" * 5000 + "}" * 5000 + '"/><set var="b" value="' + "\\{{" * 3000 + '"/>'),
    "entities": '---\nname: evil\nversion: 1.0\n---\n<!DOCTYPE lol [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>\n<workflow><set var="x" value="&b;"/></workflow>\n',
    "a late document type": script('<!DOCTYPE x SYSTEM "file:///etc/passwd"><set var="x" value="1"/>'),
    "references": script('<set var="a" value="&#0;"/>'), "huge references": script('<set var="a" value="&#x' + "F" * 9000 + ';"/>'), "unknown entities": script('<set var="a">&nbsp;</set>'),
    "a reference flood": script('<set var="a">' + "&#233;&lt;&amp;" * 30_000 + "</set>"), "bare marks": script('<set var="a">' + "a < b && c & d <= e ]]> " * 9000 + "</set>"),
    "sections of characters": script('<set var="a"><![CDATA[' + "<workflow>]]&gt;{{1}}" * 2000 + "]]></set>"), "many sections": script('<set var="a">' + "<![CDATA[{{]]>1<![CDATA[}}]]>" * 9000 + "</set>"),
    "sections that cut templates": script('<set var="a">{<![CDATA[{ nope }]]>}<!-- }} --> {<!-- -->{ 1 +<![CDATA[ }}]]></set>'), "an unclosed section": script('<set var="a"><![CDATA[ x'),
    "a section as the body": "---\nname: a\nversion: 1.0\n---\n<![CDATA[<workflow/>]]>\n", "an unclosed comment": script("<!-- <set/>"), "comments": script("<!-- -- -->" * 20_000 + '<set var="a" value="1"/>'),
    "instructions": script("<?xml version='1.0'?>"), "namespaces": script('<a:set xmlns:a="urn:a" xmlns:a="b"/><source:http:x id="a"/><source: id="b"/><: id="c"/><transform:map id="d"><expression>1</expression></transform:map>'),
    "unclosed": script("<phase><set var='a'><loop><if condition='1"), "closed twice": script("</phase></workflow><workflow>"), "ends of others": script("<phase></loop></phase>"), "no value": script("<set var value=1/>"),
    "carriage returns": script('<set var="a" value="{{ nope }}"/>\n<set var="b">\n\n {{ nada }}\n</set>').replace("\n", "\r\n"), "a mark and returns": "\ufeff" + script('<set var="a" value="{{ nope }}"/>').replace("\n", "\r"),
    "line ends of others": script('<set var="a" value="x\u2028{{ nope }}\u0085"/>\u2029<transform id="t" type="template"><template>\x0b\x0c</template></transform>').replace("\x0b\x0c", "\u2028{{ nope"),
    "unicode": script('<s\u00e9t \u00e9="\U0001f600"/><transform id="\u4e2d" type="map"><expression>\u4e2d + "\U0001f600" + \u00e9</expression></transform><set var="x" value="\u202e\ufffe"/>'),
    "an alias bomb": script('<source id="a" type="http"><request>\na: &amp;a [x, x, x]\n' + many(9, "a@: &amp;a@ [*a, *a, *a]\n") + "url: *a8\n</request></source>"),
    "self aliases": script('<source id="a" type="http"><request>&amp;t [*t]</request></source><source id="b" type="http"><config>&lt;&lt;: *x</config><message>{a: 1, a: 2}</message></source><source id="c" type="http"><request>!!python/object/apply:os.system [x]</request></source>'),
    "deep YAML": script('<source id="a" type="http"><request>' + "[" * 500 + "]" * 500 + '</request></source><source id="b" type="http"><request>{body: ' + "{a: " * 90 + "1" + "}" * 90 + ", url: 'http://x/'}</request></source>"),
    "much YAML": script('<source id="a" type="http"><request>\nurl: x\nbody:\n' + many(4000, "  k@: [a, {{{a: @}.a}}, '}}']\n") + "</request></source>"),
    "bad YAML": script('<source id="a" type="http"><request>\n\turl: x\n</request></source><source id="b" type="http"><request>a: b: c</request></source><source id="c" type="http"><request>- a\n- b</request></source><source id="d" type="http"><request>---\na: 1\n---\nb: 2</request></source><source id="e" type="http"><request>url: "{{ 1 }}": x</request></source><source id="f" type="http"><request>{{ {</request></source><source id="g" type="http"><request>"{{a": 1</request></source><source id="h" type="http"><request>? [a]\n: {{b}}\n{{c}}: 1\n{{c}}: 2</request></source>'),
    "schemas": script(LEAF, "schemas:\n  a: " + "[" * 90 + "string" + "]" * 90 + "\n  b: '" + "{a: " * 90 + "string" + "}" * 90 + "'\n  c: 'string" + "[]" * 4000 + "'\n  d: '" + " | ".join(["string"] * 3000) + "'\n  e: 'enum[" + ", ".join(map(str, range(9000))) + "]'\ninput:\n  f: 'string" + "?" * 3000 + "'\n  g: {type: enum[], default: 3}\n  h: {type: 3, required: 4}\n"),
    "too deep schemas": script('<ai id="a" model="m" prompt="x"><output-schema>' + "{a: " * 3000 + "string" + "}" * 3000 + '</output-schema></ai><ai id="b" model="m" prompt="x"><output-schema>' + "((" * 900 + "</output-schema></ai>", "schemas:\n  a: '" + "{a: " * 3000 + "'\n"),
    "front matter bombs": script(LEAF, "a: &a [x, x]\n" + many(9, "a@: &a@ [*a, *a]\n") + "config: *a8\n"), "front matter of any depth": script(LEAF, "trigger: " + "{a: " * 90 + "1" + "}" * 90 + "\nevolution: " + "[" * 400 + "]" * 400 + "\n"),
    "wrong front matter": "---\nname: [1]\nversion: {a: 1}\ntrigger: [x]\nconfig: 3\nsecrets: {a: [1], 2: 3}\ninput: x\noutput: [1]\nschemas: [a]\nruntime: {timeout: -1, retry: {max: x, base: [1], backoff: [2]}, concurrency: 1e9, x: 1}\nname: b\n---\n<workflow/>\n",
    "numbers in front matter": script(LEAF, "config:\n  a: {type: integer, default: " + "9" * 300 + "}\n  b: {type: number, default: .nan}\n  c: {type: 'enum[1, 2]', default: 1e400}\n  d: {type: integer, default: .inf}\nruntime: {timeout: " + "9" * 300 + "s, concurrency: " + "9" * 90 + ", retry: " + "9" * 30 + "}\n"),
    "much front matter": script(LEAF, "secrets: [" + many(3000, "S@", ", ") + "]\nconfig:\n" + many(3000, "  c@: {type: strin, default: @}\n") + "input:\n" + many(3000, "  i@: string\n")),
    "huge numbers": script('<foreach id="a" collection="[1]" concurrency="' + "9" * 300 + '"><set var="x" value="' + "9" * 5000 + '"/></foreach><parallel id="b" max="1e9" wait="n(999999)"><branch/></parallel><loop id="c" max="0"><delay duration="' + "9" * 400 + 'h"/><delay duration="1e400s"/><delay duration="P99999999999999999Y"/><delay duration="-1s"/></loop><timeout id="d" duration="0"><set var="y" value="1e999"/></timeout><checkpoint id="e" prompt="x" timeout="' + "9" * 30 + 'd"/><ai id="f" model="m" prompt="x" max-tokens="1e99" temperature="nan" max-retries="-1" timeout="9999999999999d"/><transform id="g" type="map"><expression>1</expression><on-error><retry max="101" base="9999999d"/></on-error></transform>'),
    "templates everywhere": script('<source id="{{a}}" type="{{b}}" input="{{c}}" required="{{d}}"/><foreach id="f" collection="{{ [1] }}" item="{{x}}" index="{{y}}" concurrency="{{2 + nope}}"><break when="{{true}}" loop="{{f}}"/></foreach><parallel id="p" max="{{1}}" wait="{{1}}" merge="{{$branches}}"><branch id="{{q}}"><set var="{{r}}" value="{{s}}"/></branch></parallel><checkpoint id="k" prompt="{{f}}" timeout="{{p}}" default="{{t}}" input-type="{{u}}"><condition>{{true}}</condition><action id="{{v}}" goto="{{w}}"/></checkpoint><include id="i" workflow="{{z}}"/><timeout id="o" duration="{{f}}" on-timeout="{{p}}"><delay duration="{{\'1s\'}}"/></timeout><loop id="l" max="{{f}}" break="{{p}}"><set var="a" value="1"/><on-error><retry max="{{1}}" when="{{true}}" backoff="{{1}}" base="{{2}}" jitter="{{3}}"/><fallback node="{{4}}" when="{{5}}"/></on-error></loop><source type="http" id="h" method="{{1}}" timeout="{{2}}" url="{{3}}" params="{{4}}" auth="{{5}}" validate="{{6}}" extract="{{7}}" headers="{{8}}"/>'),
    "blocks with nothing in them": script('<phase name="a"/><if id="b" condition="true"/><loop id="c"/><while id="d"/><foreach id="e"/><parallel id="f"/><branch id="g"/><timeout id="h"/><context id="i"/><set/><delay/><break/><include/><call/><checkpoint/><source/><sink/><transform/><ai/><if id="j" condition=""><then/><else/></if><parallel id="k"><branch/><branch id="l"/></parallel>'),
    "blocks in the wrong place": script('<then/><case/><branch/><on-error/><retry/><do/><else><set var="a" value="1"/></else><parallel id="p"><set var="b" value="1"/><branch><branch/></branch></parallel><if id="q" condition="1"><set var="c" value="1"/><then/><then/></if><workflow/>'),
    "text everywhere": script("x" * 9000 + '<phase name="a">y<parallel id="b">z<branch>v</branch></parallel></phase><if id="c" condition="true">w<then>u</then></if>'),
    "checkpoints": script(many(2000, '<checkpoint id="c@" prompt="{{x}}"><action id="a" goto="c#"/><action id="a"/></checkpoint>') + '<set var="x" value="1"/>'),
    "gates and gotos": script(many(120, '<checkpoint id="c@" prompt="{{1}}"><action id="approve" goto="c#"/></checkpoint>')),
    "breaks": script(nest(90, '<loop id="l@" max="2">', many(90, '<break loop="l@" when="true"/>'), "</loop>")),
    "another file": script('<include id="a" workflow="inner.flow.md"><bind key="words" value="{{[1]}}"/></include><call id="b" workflow="./inner.flow.md" words="{{a}}"/><foreach id="c" collection="[1, 2]"><call id="d" workflow="two.flow.md" words="{{item}}"/></foreach>'),
    "wrong files": script('<include id="a" workflow="circle.flow.md"/><call id="b" workflow="wrong.flow.md" x="1"/><call id="c" workflow="not.flow.md"/><call id="d" workflow="../x.flow.md"/><call id="e" workflow="/dev/zero.flow.md"/><call id="f" workflow="folder.flow.md"/><call id="g" workflow="inner.yaml"/><call id="h" workflow="/proc/self/mem"/><call id="i" workflow="' + "a/" * 3000 + '.flow.md"/><call id="j" workflow="nul\u2400.flow.md"/>'),
    "a chain of files": script('<include id="a" workflow="chain0.flow.md"/>'), "too long a chain of files": script('<call id="a" workflow="link0.flow.md"/>'),
    "files twice each": script('<call id="a" workflow="twice0.flow.md"/><include id="b" workflow="twice0.flow.md"/>'), "a cycle of files": script('<call id="a" workflow="circle.flow.md"/>'),
    "a file many times": script(many(500, '<call id="a@" workflow="inner.flow.md" words="@"/>')),
    "nul in a path": script('<call id="a" workflow="&#9;x"/><include id="b" workflow="{{x}}"/><include id="c" workflow="' + "x" * 5000 + '.flow.md"/>'),
    "a huge body": script('<set var="a" value="' + "x" * 3_000_000 + '"/>'), "no body": "---\nname: a\nversion: 1.0\n---\n", "no front matter": "<workflow/>", "only marks": "---\n---\n---\n", "nothing": "",
    "words before the body": "---\nname: a\nversion: 1.0\n---\n# Title\n<workflow/>\n", "a footer": script(LEAF) + "## Execution Log\n<workflow>\n</workflow>\n---\n" + "x\n" * 9000,
}  # fmt: skip
"""Files that somebody wrote to do harm, or to find a limit; some are refused and some are not."""


def companions() -> dict[str, str]:
    """Files that lie beside each of them, for `include` and `call`."""
    map_ = '<transform id="m" type="map"><expression>1</expression></transform>'
    found = {
        "inner": script('<transform id="first" type="map"><expression>words</expression></transform>'),
        "two": script('<include id="x" workflow="inner.flow.md"><bind key="words" value="{{[words]}}"/></include>'),
        "circle": script('<phase name="p"><call id="x" workflow="circles.flow.md"/></phase>'),
        "circles": script('<parallel id="p"><branch><include id="x" workflow="circle.flow.md"/></branch></parallel>'),
        "wrong": script(
            '<transfrm id="x"/><transform id="y" type="map"><expression>1 + + nope</expression></transform>'
        ),
        "not": "---\nname: [\n---\n",
        "chain15": script(map_),
        "link40": script(map_),
        "twice16": script(map_),
    }
    found |= {f"chain{at}": script(f'<include id="a" workflow="chain{at + 1}.flow.md"/>') for at in range(15)}
    found |= {f"link{at}": script(f'<call id="a" workflow="link{at + 1}.flow.md"/>') for at in range(40)}
    found |= {
        f"twice{at}": script(
            f'<call id="a" workflow="twice{at + 1}.flow.md"/><include id="b" workflow="twice{at + 1}.flow.md"/>'
        )
        for at in range(16)
    }
    return {f"{name}{SUFFIX}": text for name, text in found.items()}


EXAMPLES = {
    "of a digest": """---
name: weather-digest
version: 1.0.0
secrets: [API_KEY]
config:
  limit: {type: number, default: 30}
---
<workflow>
  <source id="city-list" type="file"><path>./cities.csv</path></source>
  <foreach id="readings" collection="city-list" item="city" concurrency="4">
    <source id="now-at" type="http">
      <request>
        url: https://weather.example/v1/{{url_encode(city.name)}}
        headers:
          Authorization: Bearer {{$secrets.API_KEY}}
      </request>
      <on-error><retry max="4"/><fallback node="unknown"/></on-error>
    </source>
  </foreach>
  <transform id="unknown" type="map"><expression>{temp: null}</expression></transform>
  <transform id="hot" type="filter" input="readings"><condition>$item.temp >= $config.limit</condition></transform>
  <if id="any" condition="length(hot) > 0">
    <then><sink id="alert" type="file" input="hot"><path>out/hot-{{date("yyyy-MM-dd")}}.json</path></sink></then>
  </if>
</workflow>
""",
    "of branches": script("""<set var="rows" value="{{[1, 2]}}"/>
<parallel id="both" merge="object">
  <branch><transform id="a" type="template"><template>{"n": {{length(rows)}}}</template></transform></branch>
  <branch><transform id="b" type="map"><expression>{total: sum(rows)}</expression></transform></branch>
</parallel>
<checkpoint id="ok" prompt="{{both.output.n}} rows, {{both.output.total}}: publish?"/>
<sink id="publish" type="file" input="both"><path>out/sum.json</path></sink>"""),
}
"""Those that the language is shown with, but for one that does not name `rows`."""

_FENCED = re.compile(r"^```[a-z]*\n(---\n(?:(?!^```).)*?<workflow.*?)^```", re.M | re.S)


def corpus() -> dict[str, str]:
    """Whole files by their names: those of this repository, those in its documents, and the evil ones."""
    found = dict(EXAMPLES)
    for path in sorted([*(ROOT / "examples").rglob(f"*{SUFFIX}"), *(ROOT / "tests" / "flows").glob(f"*{SUFFIX}")]):
        found[path.name] = path.read_text()
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for at, block in enumerate(_FENCED.findall(path.read_text())):
            found[f"{path.name} {at}"] = block
    return {f"script {name}": text for name, text in (found | EVIL).items()}


# -- mutations

Change = Callable[[random.Random, str, list[str]], "str | bytes"]

TOKENS = ["<", ">", "</", "/>", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<!DOCTYPE x>", "&", "&lt;", "&amp;", "&#10;", "&#x0;", "&nbsp;", "'", '"', "=", " = ", "{{", "}}", "\\{{", "{{ 1 }}", "---\n", "\n---\n", "<workflow>", "</workflow>", "<then>", "</then>", "<branch>", "</phase>", "\r\n", "\r", "\ufeff", "\u2028", "<a:b/>", "<1>", "< ", "a < b && c", "]]>]]>", ' id="a"', ' x="1"', " x", "/"]  # fmt: skip
TAGS = ["source", "transform", "sink", "ai", "source:http", "transform:map", "parallel", "branch", "case", "default", "otherwise", "if", "then", "else", "loop", "while", "do", "foreach", "break", "continue", "set", "context", "phase", "delay", "timeout", "include", "call", "bind", "arg", "checkpoint", "condition", "action", "on-error", "retry", "fallback", "request", "response", "config", "message", "url", "headers", "path", "expression", "template", "query", "connection", "output-schema", "prompt", "workflow", "nothing"]  # fmt: skip
ATTRIBUTES = ["id", "type", "input", "required", "name", "label", "condition", "when", "max", "maxConcurrency", "wait", "merge", "break", "collection", "item", "index", "concurrency", "loop", "var", "key", "value", "duration", "on-timeout", "workflow", "prompt", "timeout", "default", "input-type", "goto", "node", "backoff", "base", "jitter", "url", "method", "path", "format", "model", "headers", "body", "params", "auth", "extract", "validate", "xmlns", "nothing"]  # fmt: skip
VALUES = ["", "1", "0", "-1", "true", "false", "null", "1e9", "9" * 30, "5s", "5", "PT5S", "1h30m", "any", "n(2)", "all", "object", "concat", "a", "first", "first.output", "first, each", "$config.top", "{{1}}", "{{item}}", "{{first.output}}", "{{$secrets.A}}", "{{", "[1, 2]", "range(0, 3)", "x => x", "1 +", "(", "upper([1])", "http", "map", "file", "database", "reduce", "template", "inner.flow.md", "circle.flow.md", "script-inner.flow.md", "../x", "approve", "exponential", "item", "$item", "a-b", "\u00e9", " ", "&lt;", "linear"]  # fmt: skip
FRONTS = ["config: {a: {type: number, default: x}}", "secrets: [A, B]", "secrets: A", "input: {x: string}", "input: {x: {type: number, required: true}}", "runtime: {timeout: 1s, concurrency: 2, retry: 3}", "schemas: {s: '{a: string[]}'}", "trigger: [x]", "version: 1", "name: ''", "output: {a: 1}", "a: &a [*a]", "config: {top: 3}", "!!python/name:os.system x", "- a", "---"]  # fmt: skip

_TAG = re.compile(r"<(/?)([A-Za-z][\w:-]*)([^<>]*?)(/?)>")
_ATTRIBUTE = re.compile(r"(?<=\s)([\w:-]+)=(\"[^\"<]*\"|'[^'<]*')")
_SECTION = re.compile(r"<(request|response|config|message|headers|auth)>(.*?)</\1>", re.S)
_FORMULA = re.compile(r"<(expression|condition|initial|finalize)>(.*?)</\1>|\b(?:condition|when|collection|break|merge)=\"([^\"]*)\"", re.S)  # fmt: skip


def of_tokens(dice: random.Random, text: str, others: list[str]) -> str:
    """A token of XML put in, or in the place of some characters."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice(TOKENS) + text[at + dice.choice((0, 0, 1, 5)) :]
    return text


def of_attributes(dice: random.Random, text: str, others: list[str]) -> str:
    """Another name, another value, those of two in each other's place, one more, one less."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        found = list(_ATTRIBUTE.finditer(text))
        if not found:
            return of_tokens(dice, text, others)
        one, other = dice.choice(found), dice.choice(found)
        match dice.randrange(5):
            case 0:
                new = f"{dice.choice(ATTRIBUTES)}={one[2]}"
            case 1:
                new = f'{one[1]}="{dice.choice(VALUES)}"'
            case 2:
                new = f"{one[1]}={other[2]}"
            case 3:
                new = f'{one[0]} {dice.choice(ATTRIBUTES)}="{dice.choice(VALUES)}"'
            case _:
                new = ""
        text = text[: one.start()] + new + text[one.end() :]
    return text


def _elements(text: str) -> list[tuple[int, int, int, int]]:
    """Where each element begins, where its content does and ends, and where it ends."""
    found: list[tuple[int, int, int, int]] = []
    opened: list[tuple[str, int, int]] = []
    for tag in _TAG.finditer(text):
        if tag[4]:
            found.append((tag.start(), tag.end(), tag.end(), tag.end()))
        elif not tag[1]:
            opened.append((tag[2], tag.start(), tag.end()))
        elif opened and opened[-1][0] == tag[2]:
            _, start, inner = opened.pop()
            found.append((start, inner, tag.start(), tag.end()))
    return [each for each in found if not text.startswith("<workflow", each[0])]


def of_elements(dice: random.Random, text: str, others: list[str]) -> str:
    """Elements in each other's place, twice, in one another, in a new one, without what is around them, gone, of another name."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        found = _elements(text)
        if not found:
            return of_tokens(dice, text, others)
        start, inner, behind, end = dice.choice(found)
        whole = text[start:end]
        other = dice.choice(found)
        match dice.randrange(7):
            case 0 if other[0] >= end:
                text = text[:start] + text[other[0] : other[3]] + text[end : other[0]] + whole + text[other[3] :]
            case 1:
                text = text[:end] + whole * dice.choice((1, 1, 3, 30)) + text[end:]
            case 2:
                text = text[: other[1]] + whole + text[other[1] :]
            case 3:
                tag = dice.choice(TAGS)
                told = f' {dice.choice(ATTRIBUTES)}="{dice.choice(VALUES)}"' if dice.randrange(2) else ""
                text = f'{text[:start]}<{tag} id="n{dice.randrange(99)}"{told}>{whole}</{tag}>{text[end:]}'
            case 4:
                text = text[:start] + text[inner:behind] + text[end:]
            case 5:
                text = text[:start] + text[end:]
            case _:
                tag = dice.choice(TAGS)
                name = re.sub(
                    r"^</?[\w:-]+", lambda at, tag=tag: at[0][: 1 + (at[0][1] == "/")] + tag, whole[: inner - start]
                )
                last = f"</{tag}>" if behind != end else ""
                text = text[:start] + name + text[inner:behind] + last + text[end:]
    return text


WRAPS = [*BLOCKS.values(), ('<phase id="b@"><on-error><continue/></on-error>', "</phase>"), ('<parallel id="b@" wait="any"><branch/><branch id="c@">', "</branch></parallel>"), ('<foreach id="b@" collection="[1, {a: 2}]" item="city" concurrency="3">', "</foreach>")]  # fmt: skip
_ID = re.compile(r'\b(id|name)="([\w-]+)"')


def of_good_elements(dice: random.Random, text: str, others: list[str]) -> str:
    """Nodes in a block more, twice with other ids, beside where they stood, with something done about errors."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        found = [each for each in _elements(text) if _NODE.match(text, each[0])]
        if not found:
            return of_tokens(dice, text, others)
        start, _, behind, end = dice.choice(found)
        whole, number = text[start:end], str(dice.randrange(10_000))
        match dice.randrange(4):
            case 0:
                before, after = dice.choice(WRAPS)
                text = text[:start] + before.replace("@", number) + whole + after.replace("@", number) + text[end:]
            case 1:
                again = _ID.sub(lambda at, number=number: f'{at[1]}="{at[2]}-{number}"', whole)
                text = text[:end] + again + text[end:]
            case 2:
                others_ = [each for each in found if not start < each[0] < end]
                at = dice.choice(others_)[0]
                text = (
                    text[:at] + whole + text[at:start] + text[end:]
                    if at <= start
                    else text[:start] + text[end:at] + whole + text[at:]
                )
            case _ if behind != end and "<on-error>" not in whole:
                handled = dice.choice(HANDLED).replace("@", dice.choice(_ID.findall(text) or [("id", "x")])[1])
                text = text[:behind] + handled + text[behind:]
            case _:
                text = text[:end] + f'<set var="v{number}" value="{{{{[{number}]}}}}"/>' + text[end:]
    return text


_NODE = re.compile(r"<(?:source|transform|sink|ai|parallel|if|loop|while|foreach|set|context|phase|delay|timeout|include|call|checkpoint)\b")  # fmt: skip
HANDLED = ["<on-error><continue/></on-error>", '<on-error><retry max="2" backoff="linear" base="1ms"/></on-error>', '<on-error><retry when="status == 503"/><fallback node="@"/></on-error>', '<on-error><fallback node="@" when="retryable"/><continue/></on-error>']  # fmt: skip


def of_formulas(words: list[str], expressions: list[str]) -> Change:
    """What changes the expressions that stand in elements and attributes of their own."""

    def of_conditions(dice: random.Random, text: str, others: list[str]) -> str:
        """A word put into an expression, or another in its place."""
        found = list(_FORMULA.finditer(text))
        if not found:
            return of_attributes(dice, text, others)
        one = dice.choice(found)
        group = 2 if one[2] is not None else 3
        inner = one[group]
        at = dice.randrange(len(inner) + 1)
        new = dice.choice(expressions).replace("<", "&lt;")
        if not dice.randrange(3):
            new = inner[:at] + dice.choice(words) + inner[at + dice.choice((0, 0, 2, 9)) :]
        if group == 3:
            new = new.replace('"', "&quot;")
        return text[: one.start(group)] + new + text[one.end(group) :]

    return of_conditions


def of_sections(tokens: list[str]) -> Change:
    """What changes the YAML in elements, and that of the front matter."""

    def of_yaml_in_elements(dice: random.Random, text: str, others: list[str]) -> str:
        """A token put in, a line twice, a key of the front matter more."""
        parts = [(each.start(2), each.end(2)) for each in _SECTION.finditer(text)]
        fence = text.find("\n---", 4)
        parts += [(min(4, len(text)), fence)] if fence > 4 else []
        if not parts:
            return of_tokens(dice, text, others)
        start, end = dice.choice(parts)
        inner = text[start:end]
        if end == fence and dice.randrange(2):
            return f"{text[:end]}\n{dice.choice(FRONTS)}{text[end:]}"
        if dice.randrange(3):
            at = dice.randrange(len(inner) + 1)
            inner = inner[:at] + dice.choice(tokens) + inner[at + dice.choice((0, 0, 1, 6)) :]
        else:
            lines = inner.split("\n")
            at = dice.randrange(len(lines))
            lines[at:at] = [lines[at], " " * dice.randrange(4) + dice.choice(lines)]
            inner = "\n".join(lines)
        return text[:start] + inner + text[end:]

    return of_yaml_in_elements

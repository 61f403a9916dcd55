"""The two examples of the language reference, word for word, with a server of ours in place of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import plait
from answering_server import Server, answer, data
from plait.flow import load
from script_flows import Play, Stage

WEATHER = """\
---
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
"""


@pytest.mark.realtime
class TestWeather:
    def run(self, server: Server, monkeypatch: pytest.MonkeyPatch, **config: object) -> plait.RunResult:
        monkeypatch.setenv("API_KEY", "a-very-secret-key")
        Path("cities.csv").write_text("name,country\nSão Paulo,BR\nOslo,NO\nNowhere,XX\n")
        server.answers["/v1/S%C3%A3o%20Paulo"] = [answer("busy", "503 Busy", retry_after=0.01), data({"temp": 31})]
        server.answers["/v1/Oslo"] = data({"temp": 3})
        server.answers["/v1/Nowhere"] = answer("who?", "404 Not Found")
        Path("weather.flow.md").write_text(WEATHER.replace("https://weather.example", server.url))
        flow = load("weather.flow.md").configured(config)  # type: ignore[attr-defined]
        return plait.run(flow, raise_on_failure=False)

    def test_what_is_hot_is_written_down(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """D1 D7 D8 D9: one city at the second try, one given up."""
        result = self.run(server, monkeypatch)
        assert result.status == "succeeded", result.reason
        assert result["readings"].value == [{"temp": 31}, {"temp": 3}, {"temp": None}]
        (written,) = Path("out").glob("hot-20??-??-??.json")
        assert json.loads(written.read_text()) == [{"temp": 31}]
        assert "unknown" not in result  # nobody wanted it but for the city that was given up
        assert {each.headers["authorization"] for each in server.asked} == {"Bearer a-very-secret-key"}
        assert sorted(each.path for each in server.asked) == ["/v1/Nowhere", "/v1/Oslo", *["/v1/S%C3%A3o%20Paulo"] * 2]

    def test_nothing_is_where_nothing_is_hot(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """D7: `any` needs `hot`, because its condition names it."""
        result = self.run(server, monkeypatch, limit=40)
        assert result.status == "succeeded", result.reason
        assert result["any"].value is None
        assert not Path("out").exists()


BOTH = """
<transform id="rows" type="step" value="{{[1, 2, 3]}}"/>
<parallel id="both" merge="object">
  <branch><transform id="a" type="template"><template>{"n": {{length(rows)}}}</template></transform></branch>
  <branch><transform id="b" type="map"><expression>{total: sum(rows.output)}</expression></transform></branch>
</parallel>
<checkpoint id="ok" prompt="{{both.output.n}} rows, {{both.output.total}}: publish?"/>
<sink id="publish" type="file" input="both"><path>out/sum.json</path></sink>
"""


class TestBoth:
    def test_publish_waits_for_ok_without_naming_it(self, stage: Stage) -> None:
        """D1 D8."""
        with Play(BOTH) as play:
            assert play.asked == {"ok": "3 rows, 6: publish?"}
            assert not Path("out").exists()
            play.answer("ok", "approve")
            assert play.over()["publish"]["path"] == "out/sum.json"
        assert json.loads(Path("out/sum.json").read_text()) == {"n": 3, "total": 6}

    def test_nothing_is_published_that_was_rejected(self) -> None:
        """D8."""
        with Play(BOTH) as play:
            play.answer("ok", "reject")
            assert play.over().status == "rejected"
        assert not Path("out").exists()

// Each check, by a table: what is known, what is found, what is said to do.
#include "doctor/checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace sollol::doctor {
namespace {

using namespace std::chrono_literals;
using Answer = EntryFact::Answer;

struct CheckCase {
  const char* name;
  std::function<Findings(const Facts&)> check;
  std::function<void(Facts&)> change;  // of two healthy nodes on two machines
  Level level;                         // the worst
  std::string text;                    // of one finding of that level
  std::string mend = {};               // of the same
};

NodeFact node(std::string name, std::string ip, std::uint16_t port = 11434) {
  return {.name = std::move(name),
          .url = "http://" + ip + ":" + std::to_string(port),
          .origin = "discovered",
          .addresses = {{ip, port}},
          .version = "0.33.0",
          .models = {{.key = "llama3.2", .digest = "aaaa", .modified_at = "2026-11-24T10:00:00Z"}},
          .round_trip = 1ms,
          .clock_ahead = Duration{}};
}

Facts two_machines() {
  Facts facts;
  facts.nodes = {node("a", "10.0.0.1"), node("b", "10.0.0.2")};
  facts.locality = {.machines = {{"m1", {"a"}}, {"m2", {"b"}}},
                    .parallel = true,
                    .reason = "100 tasks over 2 machines: 2 at once"};
  facts.scan = ScanFact{.ports = {11434},
                        .timeout = 500ms,
                        .took = 510ms,
                        .tried = 254,
                        .ranges = {{"10.0.0.0/24", "eth0", 254, 2}}};
  facts.own = {.listen = {"127.0.0.1", 11434}, .descriptors_max = 65536, .connections = 20000};
  return facts;
}

Facts& none(Facts& facts) {
  facts.nodes.clear();
  facts.locality = {};
  return facts;
}

LoadedFact loaded(std::uint32_t context, std::uint64_t size = 100, std::uint64_t vram = 100) {
  return {.key = "llama3.2",
          .context_length = context,
          .size_bytes = size,
          .vram_bytes = vram,
          .sizes_known = true};
}

void one_machine(Facts& facts) {
  facts.locality = {.machines = {{"m1", {"a", "b"}}}, .reason = "all 2 nodes are on one machine"};
}

class Check : public testing::TestWithParam<CheckCase> {};

TEST_P(Check, SaysWhatIsWrongAndTheMend) {
  const CheckCase& row = GetParam();
  Facts facts = two_machines();
  row.change(facts);
  const Findings found = row.check(facts);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(std::ranges::max_element(found, {}, &Finding::level)->level, row.level);
  const bool said = std::ranges::any_of(found, [&](const Finding& finding) {
    const bool mends =
        row.mend.empty() || std::ranges::any_of(finding.mends, [&](const std::string& mend) {
          return mend.contains(row.mend);
        });
    return finding.level == row.level && finding.text.contains(row.text) && mends;
  });
  std::string all;
  for (const Finding& finding : found) {
    all += finding.text + "\n";
    for (const std::string& mend : finding.mends) all += "  " + mend + "\n";
  }
  EXPECT_TRUE(said) << all;
}

const auto nodes = [](const Facts& facts) { return check_nodes(facts); };
const auto speed = [](const Facts& facts) { return check_speed(facts); };
const auto slow = [](const Facts& facts) { return check_discovery(facts); };
const auto clocks = [](const Facts& facts) { return check_clock(facts); };
const auto files = [](const Facts& facts) { return check_files(facts); };
std::string row_name(const testing::TestParamInfo<CheckCase>& row) { return row.param.name; }

INSTANTIATE_TEST_SUITE_P(
    Gateway, Check,
    testing::Values(
        CheckCase{"answers", check_gateway,
                  [](Facts& f) { f.gateway = {GatewayFact::State::answers, "http://g", {}}; },
                  Level::ok, "answers"},
        CheckCase{"none", check_gateway, [](Facts&) {}, Level::note, "no gateway runs"},
        CheckCase{"silent", check_gateway,
                  [](Facts& f) { f.gateway = {GatewayFact::State::silent, "http://g", "why"}; },
                  Level::bad, "http://g: why", "sollol up"},
        CheckCase{"wants_a_key", check_gateway,
                  [](Facts& f) { f.gateway = {GatewayFact::State::refuses_us, "http://g", {}}; },
                  Level::bad, "admin key", "SOLLOL_API_KEY"},
        CheckCase{"foreign", check_gateway,
                  [](Facts& f) { f.gateway = {GatewayFact::State::foreign, "http://g", {}}; },
                  Level::bad, "no SOLLOL gateway", "--gateway"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    NoNode, Check,
    testing::Values(
        CheckCase{"nothing_listens", nodes, [](Facts& f) { none(f); }, Level::bad,
                  "nothing listens on port 11434 of this machine", "ollama serve"},
        CheckCase{"loopback_only", nodes,
                  [](Facts& f) {
                    none(f).own.listeners = {{"127.0.0.1", 11434}};
                    f.own.local_ollamas = {{"127.0.0.1", 11434}};
                  },
                  Level::bad, "listens on 127.0.0.1:11434 only", "OLLAMA_HOST=0.0.0.0"},
        CheckCase{"firewall", nodes, [](Facts& f) { none(f).scan->dropping = {"10.0.0.9"}; },
                  Level::bad, "(10.0.0.9): a firewall", "ufw allow 11434/tcp"},
        CheckCase{"refused", nodes, [](Facts& f) { none(f).scan->refusing = {"10.0.0.8"}; },
                  Level::bad, "refuses port 11434 (10.0.0.8)", "OLLAMA_HOST=0.0.0.0"},
        CheckCase{"other_port", nodes,
                  [](Facts& f) { none(f).scan->elsewhere = {{"10.0.0.7", 11435}}; }, Level::bad,
                  "answers at 10.0.0.7:11435", "--discovery-ports 11434,11435"},
        CheckCase{"not_looked_for", nodes,
                  [](Facts& f) { none(f).scan->unlisted = {{"10.0.0.7", 11434}}; }, Level::bad,
                  "nodes are there (10.0.0.7:11434) and are not looked for", "auto_discover"},
        CheckCase{"wrong_subnet", nodes,
                  [](Facts& f) {
                    none(f).entries = {{.url = "http://10.9.0.1:11434",
                                        .where = "OLLAMA_HOST",
                                        .addresses = {{"10.9.0.1", 11434}},
                                        .answer = Answer::silent,
                                        .near = false}};
                  },
                  Level::bad, "outside the networks of this machine (10.0.0.0/24)",
                  "correct the address in OLLAMA_HOST"},
        CheckCase{"no_network", nodes, [](Facts& f) { none(f).scan->ranges.clear(); }, Level::bad,
                  "no private network", "--node"},
        CheckCase{"nobody_answers", nodes,
                  [](Facts& f) { none(f).own.listeners = {{"10.0.0.1", 11434}}; }, Level::bad,
                  "no machine answers", "--subnet"},
        CheckCase{"not_looked", nodes, [](Facts& f) { none(f).scan.reset(); }, Level::bad,
                  "no node is known", "sollol discover"},
        CheckCase{"scan_failed", nodes,
                  [](Facts& f) {
                    none(f).scan.reset();
                    f.scan_trouble = "netlink";
                  },
                  Level::bad, "netlink"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Nodes, Check,
    testing::Values(
        CheckCase{"all_answer", nodes, [](Facts&) {}, Level::ok, "2 nodes answer"},
        CheckCase{"one_is_down", nodes,
                  [](Facts& f) {
                    f.nodes[1].usable = false;
                    f.nodes[1].trouble = "refused";
                  },
                  Level::warn, "b (http://10.0.0.2:11434) cannot be used: refused",
                  "sollol nodes remove b"},
        CheckCase{"all_are_down", nodes,
                  [](Facts& f) { f.nodes[0].usable = f.nodes[1].usable = false; }, Level::bad,
                  "0 of 2 nodes usable"},
        CheckCase{"loopback_is_noted", nodes,
                  [](Facts& f) {
                    f.nodes[0] = node("a", "127.0.0.1");
                    f.nodes[0].on_this_machine = true;
                  },
                  Level::note, "other machines cannot use it"},
        CheckCase{"unlisted", nodes, [](Facts& f) { f.scan->unlisted = {{"10.0.0.3", 11434}}; },
                  Level::note, "none of the gateway's nodes: 10.0.0.3:11434",
                  "sollol nodes add http://10.0.0.3:11434"},
        CheckCase{"entries_answer", check_entries, [](Facts&) {}, Level::ok, "no file"},
        CheckCase{"stale_entry", check_entries,
                  [](Facts& f) {
                    f.entries = {{.url = "http://old:11434",
                                  .where = "node file n.json",
                                  .answer = Answer::unresolved}};
                  },
                  Level::warn, "its name does not resolve",
                  "take http://old:11434 out of node file"},
        CheckCase{"file_mistake", check_entries,
                  [](Facts& f) { f.mistakes = {"node file n.json, line 3: nodes[0].url: bad"}; },
                  Level::warn, "line 3", "correct"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Duplicates, Check,
    testing::Values(CheckCase{"none", check_duplicates, [](Facts&) {}, Level::ok, "counted twice"},
                    CheckCase{"localhost_beside_real", check_duplicates,
                              [](Facts& f) {
                                f.nodes.push_back(node("local", "127.0.0.1"));
                                f.nodes[0].on_this_machine = f.nodes[2].on_this_machine = true;
                                f.own.listeners = {{"0.0.0.0", 11434}};
                              },
                              Level::warn, "local (http://127.0.0.1:11434) and a (",
                              "nodes remove local"},
                    CheckCase{"two_servers_of_one_machine", check_duplicates,
                              [](Facts& f) {
                                f.nodes[0] = node("local", "127.0.0.1");
                                f.nodes[0].on_this_machine = f.nodes[1].on_this_machine = true;
                                f.own.listeners = {{"127.0.0.1", 11434}, {"10.0.0.2", 11434}};
                              },
                              Level::ok, "no server"},
                    CheckCase{"two_names_of_one_address", check_duplicates,
                              [](Facts& f) { f.nodes[1].addresses = f.nodes[0].addresses; },
                              Level::warn, "are one server", "nodes remove b"},
                    CheckCase{"entries", check_duplicates,
                              [](Facts& f) {
                                f.entries = {{.url = "http://10.0.0.1:11434",
                                              .where = "node file n.json",
                                              .addresses = {{"10.0.0.1", 11434}},
                                              .on_this_machine = true},
                                             {.url = "http://localhost:11434",
                                              .where = "node file n.json",
                                              .addresses = {{"127.0.0.1", 11434}},
                                              .on_this_machine = true}};
                                f.own.listeners = {{"::", 11434}};
                              },
                              Level::warn,
                              "http://localhost:11434 (node file n.json) and http://10.0.0.1:11434",
                              "take http://localhost:11434 out of node file n.json"},
                    CheckCase{"two_ports", check_duplicates,
                              [](Facts& f) {
                                f.nodes[1] = node("b", "10.0.0.1", 11435);
                                one_machine(f);
                              },
                              Level::note, "2 nodes on 1 machine"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Parallel, Check,
    testing::Values(CheckCase{"is_used", check_parallel, [](Facts&) {}, Level::ok, "2 at once"},
                    CheckCase{"one_node", check_parallel, [](Facts& f) { f.nodes.pop_back(); },
                              Level::ok, "no two nodes"},
                    CheckCase{"one_machine", check_parallel, one_machine, Level::note,
                              "sequential: all 2 nodes are on one machine"},
                    CheckCase{"tunnel_by_its_process", check_parallel,
                              [](Facts& f) {
                                f.nodes = {node("a", "127.0.0.1"), node("b", "127.0.0.1", 11435)};
                                f.nodes[0].on_this_machine = f.nodes[1].on_this_machine = true;
                                f.nodes[1].process = "ssh";
                                one_machine(f);
                              },
                              Level::warn, "b (http://127.0.0.1:11435) is named by localhost",
                              "--node http://127.0.0.1:11435,host=NAME"},
                    CheckCase{"tunnel_by_another_version", check_parallel,
                              [](Facts& f) {
                                f.nodes = {node("a", "127.0.0.1"), node("b", "127.0.0.1", 11435)};
                                f.nodes[0].on_this_machine = f.nodes[1].on_this_machine = true;
                                f.nodes[1].version = "0.30.0";
                                one_machine(f);
                              },
                              Level::warn, "it runs Ollama 0.33.0, and b runs 0.30.0", "host=NAME"},
                    CheckCase{"hosts_named_alike", check_parallel,
                              [](Facts& f) {
                                one_machine(f);
                                f.locality.evidence = {{"operator_host", "a", "b", true,
                                                        "both are said to be on 'localhost'"}};
                              },
                              Level::warn, "since the configuration says so",
                              "give each a `host`"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Speed, Check,
    testing::Values(
        CheckCase{"nothing", speed, [](Facts&) {}, Level::ok, "nothing shows"},
        CheckCase{"same_machine", speed, one_machine, Level::note, "share one machine",
                  "sollol nodes measure"},
        CheckCase{"same_cpu", speed,
                  [](Facts& f) {
                    one_machine(f);
                    f.nodes[0].loaded = f.nodes[1].loaded = {loaded(4096, 100, 0)};
                  },
                  Level::warn, "compute on the CPU of one machine", "nodes remove b"},
        CheckCase{"a_device_each", speed,
                  [](Facts& f) {
                    one_machine(f);
                    f.locality.machines[0].independent = 2;
                  },
                  Level::ok, "nothing shows"},
        CheckCase{"far", speed, [](Facts& f) { f.nodes[0].round_trip = 80ms; }, Level::warn,
                  "a is 80 ms away", "priority=1"},
        CheckCase{"small_tasks", speed,
                  [](Facts& f) {
                    f.nodes[0].round_trip = 4ms;
                    f.nodes[0].models[0].service_s = 0.012;
                  },
                  Level::warn, "too small to be worth spreading", "/api/embed"},
        CheckCase{"memory", speed, [](Facts& f) { f.nodes[1].loaded = {loaded(8192, 100, 60)}; },
                  Level::warn, "40 % of llama3.2 does not fit into the GPU of b",
                  "OLLAMA_CONTEXT_LENGTH=4096"},
        CheckCase{"cpu", speed, [](Facts& f) { f.nodes[1].loaded = {loaded(8192, 100, 0)}; },
                  Level::note, "runs on the CPU of b"},
        CheckCase{"spread", speed,
                  [](Facts& f) {
                    f.nodes[0].models[0].decode_tokens_per_s = 100;
                    f.nodes[1].models[0].decode_tokens_per_s = 10;
                  },
                  Level::note, "100 tokens/s at a and 10 at b"},
        CheckCase{"measured", speed,
                  [](Facts& f) {
                    f.locality.evidence = {{"contention", "a", "b", true, "both slow down"}};
                  },
                  Level::note, "a and b: both slow down"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Discovery, Check,
    testing::Values(
        CheckCase{"quick", slow, [](Facts&) {}, Level::ok, "254"},
        CheckCase{"not_looked", slow, [](Facts& f) { f.scan.reset(); }, Level::note, "not looked"},
        CheckCase{"timeout", slow,
                  [](Facts& f) {
                    f.scan->timeout = 3s;
                    f.scan->took = 3100ms;
                  },
                  Level::warn, "may take 3.0 s to answer", "discovery.timeout_s = 0.5"},
        CheckCase{"dead_range", slow,
                  [](Facts& f) {
                    f.scan->took = 1500ms;
                    f.scan->ranges.push_back({"10.4.0.0/20", "eth1", 4094, 0});
                  },
                  Level::warn, "10.4.0.0/20 (eth1): none of its 4094 addresses",
                  "--discovery-subnets 10.0.0.0/24"},
        CheckCase{"a_dead_range_that_costs_nothing", slow,
                  [](Facts& f) { f.scan->ranges.push_back({"10.4.0.0/24", "eth1", 254, 0}); },
                  Level::ok, "254"},
        CheckCase{"who_is_waited_for", slow,
                  [](Facts& f) {
                    f.scan->took = 1500ms;
                    f.scan->others = {{{"10.0.0.5", 11434}, OtherFact::What::silent, {}}};
                  },
                  Level::note, "10.0.0.5:11434 accepts connections and says nothing"},
        CheckCase{"descriptors", slow, [](Facts& f) { f.scan->unsent = 7; }, Level::warn,
                  "7 addresses were not tried", "ulimit -n"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Fleet, Check,
    testing::Values(
        CheckCase{"versions_agree", check_versions, [](Facts&) {}, Level::ok, "Ollama 0.33.0"},
        CheckCase{"versions_differ", check_versions, [](Facts& f) { f.nodes[1].version = "0.9.6"; },
                  Level::warn, "0.33.0 at a; 0.9.6 at b", "update b to 0.33.0"},
        CheckCase{"contexts_not_shown", check_contexts, [](Facts&) {}, Level::ok, "no model"},
        CheckCase{"contexts_agree", check_contexts,
                  [](Facts& f) { f.nodes[0].loaded = f.nodes[1].loaded = {loaded(4096)}; },
                  Level::ok, "same context"},
        CheckCase{"contexts_differ", check_contexts,
                  [](Facts& f) {
                    f.nodes[0].loaded = {loaded(4096)};
                    f.nodes[1].loaded = {loaded(32768)};
                  },
                  Level::warn, "4096 at a; 32768 at b", "OLLAMA_CONTEXT_LENGTH="},
        CheckCase{"thrashing_not_counted", check_thrashing,
                  [](Facts& f) { f.gateway.state = GatewayFact::State::none; }, Level::note,
                  "only a running gateway"},
        CheckCase{"no_thrashing", check_thrashing,
                  [](Facts& f) { f.gateway.state = GatewayFact::State::answers; }, Level::ok,
                  "no loads of models"},
        CheckCase{"thrashing", check_thrashing,
                  [](Facts& f) {
                    f.gateway.state = GatewayFact::State::answers;
                    f.gateway.thrashing = {"a loaded m again, 7 times. Set pin_num_ctx"};
                  },
                  Level::warn, "7 times", "Set pin_num_ctx"},
        CheckCase{"digests_agree", check_models, [](Facts&) {}, Level::ok, "1 model"},
        CheckCase{"digests_differ", check_models,
                  [](Facts& f) {
                    f.nodes[1].models[0].digest = "bbbb";
                    f.nodes[1].models[0].modified_at = "2026-11-01T10:00:00Z";
                  },
                  Level::warn, "aaaa at a; bbbb at b",
                  "OLLAMA_HOST=http://10.0.0.2:11434 ollama pull llama3.2"},
        CheckCase{"remote_models_have_none", check_models,
                  [](Facts& f) {
                    f.nodes[1].models[0].digest = "bbbb";
                    f.nodes[1].models[0].remote = true;
                  },
                  Level::ok, "1 model"},
        CheckCase{"clocks_agree", clocks, [](Facts&) {}, Level::ok, "within 5 s"},
        CheckCase{"one_clock_is_ahead", clocks, [](Facts& f) { f.nodes[1].clock_ahead = 90s; },
                  Level::warn, "the clock of b is 90 s ahead of", "at b: `sudo timedatectl"},
        CheckCase{"our_clock_is_ahead", clocks,
                  [](Facts& f) { f.nodes[0].clock_ahead = f.nodes[1].clock_ahead = -60s; },
                  Level::warn, "this machine's clock is 60 s ahead of those of all 2", "here:"},
        CheckCase{"no_clock", clocks,
                  [](Facts& f) { f.nodes[0].clock_ahead = f.nodes[1].clock_ahead = {}; }, Level::ok,
                  "no other machine"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Machine, Check,
    testing::Values(
        CheckCase{"files_enough", files, [](Facts&) {}, Level::ok, "enough"},
        CheckCase{"files_few", files, [](Facts& f) { f.own.descriptors_max = 20000; }, Level::warn,
                  "about 9900 clients", "LimitNOFILE=40200"},
        CheckCase{"files_hardly_any", files, [](Facts& f) { f.own.descriptors_max = 256; },
                  Level::bad, "about 28 clients", "LimitNOFILE="},
        CheckCase{"port_free", check_port, [](Facts&) {}, Level::ok, "127.0.0.1:11434 is free"},
        CheckCase{"port_ours", check_port, [](Facts& f) { f.own.holder = PortHolder::gateway; },
                  Level::ok, "SOLLOL gateway"},
        CheckCase{"port_of_ollama", check_port,
                  [](Facts& f) {
                    f.own.holder = PortHolder::ollama;
                    f.own.holder_process = "ollama (pid 8)";
                  },
                  Level::bad, "taken by an Ollama, ollama (pid 8)", "--listen 127.0.0.1:11435"},
        CheckCase{"port_of_another", check_port, [](Facts& f) { f.own.holder = PortHolder::other; },
                  Level::bad, "another program", "--listen 127.0.0.1:11435"},
        CheckCase{"port_while_a_gateway_runs_elsewhere", check_port,
                  [](Facts& f) {
                    f.own.holder = PortHolder::ollama;
                    f.gateway.state = GatewayFact::State::answers;
                  },
                  Level::note, "taken by an Ollama"}),
    row_name);

}  // namespace
}  // namespace sollol::doctor

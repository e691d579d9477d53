// Each fault × each inference route, streaming or not: what the client saw, and what the fleet did.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ctime>
#include <latch>
#include <thread>

#include "harness.h"
#include "inference_calls.h"
#include "stand_in.h"

namespace {

/// Added to the clocks of the whole process: the calendar's, and the one that only goes forward.
std::atomic<long> wall_offset_s{0};
std::atomic<long> steady_offset_s{0};

}  // namespace

/// Stands before the C library's: what a jump of the system's time looks like to this process.
extern "C" [[clang::no_sanitize("address", "thread", "undefined")]] int clock_gettime(
    clockid_t clock, timespec* out) noexcept {
  const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (clock == CLOCK_REALTIME) out->tv_sec += wall_offset_s.load(std::memory_order_relaxed);
  if (clock == CLOCK_MONOTONIC) out->tv_sec += steady_offset_s.load(std::memory_order_relaxed);
  return result;
}

namespace sollol::test {
namespace {

using sim::FaultKind;
using sim::FaultScope;
using sim::FaultSpec;

constexpr Duration first_byte_limit = 1500ms;

/// What a client may see. `told`: an error answer where nothing had been sent, else a record.
enum class Client : std::uint8_t {
  unharmed,      // the whole right answer, whether or not another node is there
  elsewhere,     // nothing had been sent: another node's whole answer; alone an error answer
  mid_stream,    // a stream had begun: continued, or an error record; what is whole: `elsewhere`
  begun_or_not,  // the fault comes with the first bytes, and either may be
  any_time,      // the fault may also come when all is over
};

/// What happens to the faulty node.
enum class Node : std::uint8_t {
  unharmed,  // stays healthy
  either,    // where its API has no error record, its stream just ends
  out,       // no request goes there any more but a trial
};

struct FaultRow {
  const char* name;
  Client client;
  Node node;
  FaultSpec fault{};
  /// Instead of a fault of the simulated node: another program at its address.
  std::optional<StandIn::Kind> stand_in{};
  /// Once the node has written some tokens.
  enum class Meanwhile : std::uint8_t { nothing, kill, wall_clock_forward, wall_clock_back };
  Meanwhile meanwhile = Meanwhile::nothing;
  /// Embeddings have no tokens to count, and what does not stream no records.
  enum class Meets : std::uint8_t { all, token_writers, streams };
  Meets meets = Meets::all;
};

void PrintTo(const FaultRow& row, std::ostream* out) { *out << row.name; }

std::vector<FaultRow> fault_rows() {
  using enum FaultRow::Meanwhile;
  using enum FaultRow::Meets;
  constexpr auto everywhere = FaultScope::all;
  const auto mid = [](FaultKind kind) { return FaultSpec{.kind = kind, .tokens = 3}; };
  const auto first = [](FaultKind kind) { return FaultSpec{.kind = kind}; };
  return {
      {"none", Client::unharmed, Node::unharmed},
      {"refuse", Client::elsewhere, Node::out, first(FaultKind::refuse)},
      {"reset", Client::elsewhere, Node::out, first(FaultKind::reset)},
      {"reset_after_head", Client::elsewhere, Node::out, first(FaultKind::reset_after_head)},
      {"starting",
       Client::elsewhere,
       Node::out,
       {.kind = FaultKind::starting, .scope = everywhere}},
      {"stall_of_all",
       Client::elsewhere,
       Node::out,
       {.kind = FaultKind::stall, .scope = everywhere}},
      {"stall", Client::elsewhere, Node::out, first(FaultKind::stall)},
      {"dies_first",
       Client::elsewhere,
       Node::out,
       first(FaultKind::die_after_tokens),
       {},
       nothing,
       token_writers},
      {"dies_later",
       Client::mid_stream,
       Node::out,
       mid(FaultKind::die_after_tokens),
       {},
       nothing,
       token_writers},
      {"ends_first",
       Client::elsewhere,
       Node::out,
       first(FaultKind::end_after_tokens),
       {},
       nothing,
       token_writers},
      {"ends_later",
       Client::mid_stream,
       Node::out,
       mid(FaultKind::end_after_tokens),
       {},
       nothing,
       token_writers},
      {"stalls_later",
       Client::mid_stream,
       Node::out,
       {.kind = FaultKind::stall_after_tokens, .tokens = 3, .scope = everywhere},
       {},
       nothing,
       token_writers},
      {"error", Client::elsewhere, Node::unharmed, first(FaultKind::error)},
      {"error_later",
       Client::mid_stream,
       Node::either,
       mid(FaultKind::error_after_tokens),
       {},
       nothing,
       streams},
      {"busy", Client::elsewhere, Node::unharmed, first(FaultKind::busy)},
      {"slow_ps",
       Client::unharmed,
       Node::unharmed,
       {.kind = FaultKind::slow_ps, .delay = 100s, .scope = everywhere}},
      {"content_type", Client::elsewhere, Node::out, first(FaultKind::content_type)},
      {"garbage", Client::elsewhere, Node::out, first(FaultKind::garbage)},
      {"empty", Client::elsewhere, Node::out, first(FaultKind::empty)},
      {"slow", Client::unharmed, Node::unharmed, {.kind = FaultKind::slow, .factor = 4}},
      {"half_close_first", Client::elsewhere, Node::out, first(FaultKind::half_close)},
      {"half_close_later", Client::mid_stream, Node::out, mid(FaultKind::half_close)},
      {"cut_in_first_chunk", Client::begun_or_not, Node::out, first(FaultKind::cut_in_chunk)},
      {"cut_in_chunk", Client::mid_stream, Node::out, mid(FaultKind::cut_in_chunk)},
      {"bad_first_chunk", Client::begun_or_not, Node::out, first(FaultKind::bad_chunk)},
      {"bad_chunk", Client::mid_stream, Node::out, mid(FaultKind::bad_chunk)},
      {"half_record",
       Client::mid_stream,
       Node::out,
       mid(FaultKind::half_record),
       {},
       nothing,
       streams},
      {"garbage_record",
       Client::mid_stream,
       Node::out,
       mid(FaultKind::garbage_record),
       {},
       nothing,
       streams},
      {"long_length", Client::mid_stream, Node::out, first(FaultKind::long_length)},
      {"short_length", Client::begun_or_not, Node::out, first(FaultKind::short_length)},
      {"foreign", Client::elsewhere, Node::out, first(FaultKind::foreign)},
      {"foreign_of_all",
       Client::elsewhere,
       Node::out,
       {.kind = FaultKind::foreign, .scope = everywhere}},
      {"killed_later", Client::any_time, Node::out, {}, {}, kill, token_writers},
      {"replaced_by_web_server", Client::elsewhere, Node::out, {}, StandIn::Kind::web_server},
      {"replaced_by_other_talk", Client::elsewhere, Node::out, {}, StandIn::Kind::other_talk},
      {"replaced_by_silence", Client::elsewhere, Node::out, {}, StandIn::Kind::silent},
      {"replaced_by_hanging_up", Client::elsewhere, Node::out, {}, StandIn::Kind::hangs_up},
      {"black_hole", Client::elsewhere, Node::out, {}, StandIn::Kind::black_hole},
      {"clock_jumps_forward", Client::unharmed, Node::unharmed, {}, {}, wall_clock_forward},
      {"clock_jumps_back", Client::unharmed, Node::unharmed, {}, {}, wall_clock_back},
  };
}

/// One call with nodes of its own: "a…", which fails, and where there are two, "b…" below it.
struct Cell {
  InferenceCall call;
  std::string model, bad, good;
  std::string words;  // the right answer's
};

enum class Fleet : std::uint8_t { pairs, alone, hedging };  // hedging: pairs of equal standing
constexpr std::array fleets{Fleet::pairs, Fleet::alone, Fleet::hedging};

bool may_be_hedged(const InferenceCall& call) {
  return !call.streams() && call.kind != InferenceCall::Kind::responses &&
         call.kind != InferenceCall::Kind::transcriptions;
}

sim::ModelSpec cell_model(const std::string& name) {
  sim::ModelSpec model;
  model.name = name;
  model.capabilities = {"completion", "embedding", "audio"};
  model.embedding_length = 8;
  model.load_time = 1ms;
  model.decode_tokens_per_s = 200;
  model.prefill_tokens_per_s = 20000;
  model.answer_tokens = 12;
  return model;
}

/// A gateway in front of nodes for each cell, so that all cells of a row can run at once.
class Matrix {
 public:
  explicit Matrix(Fleet kind) : kind_(kind) {
    for (const InferenceCall& call : inference_calls()) {
      if (kind == Fleet::hedging && !may_be_hedged(call)) continue;
      const std::string id = std::to_string(cells_.size());
      cells_.push_back({call, "model" + id, "a" + id, kind == Fleet::alone ? "" : "b" + id, {}});
    }
    fleet_.emplace(nodes(), [kind](gateway::Options& options) { tune(options, kind); });
    for (Cell& cell : cells_) {
      RawClient client(fleet_->node_port(cell.bad), ip_of(cell.bad).c_str());
      client.send(cell.call.request(cell.model));
      const Reading right = read_answer(cell.call, client.receive());
      if (right.seen != Seen::whole || right.words.empty())
        throw std::runtime_error(cell.call.name + ": no right answer: " + right.problem);
      cell.words = right.words;
    }
    if (kind == Fleet::hedging) learn_what_is_late();
  }

  const std::vector<Cell>& cells() const { return cells_; }
  TestFleet& fleet() { return *fleet_; }
  Fleet kind() const { return kind_; }

  /// Nodes have addresses of their own, so that nobody's outgoing connection takes their port.
  std::string ip_of(std::string_view node) {
    const std::string url = fleet_->nodes().url(node);
    return url.substr(7, url.rfind(':') - 7);
  }

 private:
  sim::FleetConfig nodes() const {
    sim::FleetConfig config;
    config.time_scale = 1;  // so that tokens come one by one
    for (const Cell& cell : cells_) {
      for (const std::string& name : {cell.bad, cell.good}) {
        if (name.empty()) continue;
        sim::NodeSpec node;
        node.name = name;
        node.address = "127.0.3." + std::to_string(config.nodes.size() + 1) + ":0";
        node.models = {cell_model(cell.model)};
        config.nodes.push_back(std::move(node));
      }
    }
    return config;
  }

  /// Both nodes of each cell have their model loaded, and of the first it is known what is usual.
  void learn_what_is_late() {
    std::vector<std::jthread> threads;
    for (const Cell& cell : cells_) {
      threads.emplace_back([this, &cell] {
        RawClient warming(fleet_->node_port(cell.good), ip_of(cell.good).c_str());
        warming.send(cell.call.request(cell.model));
        warming.receive();
        for (int i = 0; i < 12; ++i) {
          RawClient client(fleet_->port());
          client.send(cell.call.request(cell.model));
          client.receive();
        }
      });
    }
  }

  static void tune(gateway::Options& options, Fleet kind) {
    if (kind == Fleet::hedging) {
      options.policy = routing::Policy::priority;  // the first of each pair
      options.hedge.enabled = true;
      options.hedge.budget_percent = 100;
    }
    for (auto& node : options.nodes)
      node.tier = kind == Fleet::pairs && node.name.starts_with('b') ? 1 : 0;
    options.upstream.connect_timeout = 300ms;
    options.upstream.response_timeout = first_byte_limit;
    options.stream.heartbeat = 400ms;
    options.stall.fixed = first_byte_limit;
    options.retry.budget_percent = 100;  // every call of a row fails once; see RetriesAreBounded
    options.probe.interval = 100ms;
    options.probe.tags_interval = 500ms;
    options.probe.ps_timeout = 500ms;
    // Long enough for a busy machine; shorter than the limits above, so that no probe which a row
    // left unanswered outlasts it.
    options.probe.timeout = 1200ms;
    options.health.suspect_after = 1000ms;
    options.health.dead_after = 1200ms;
    options.health.failures_to_eject = 1;
    options.health.ejection_base = 50ms;
    options.health.ejection_max = 200ms;
  }

  Fleet kind_;
  std::vector<Cell> cells_;
  std::optional<TestFleet> fleet_;
};

/// What came on one connection: the answer, and what a second request on it got.
struct Observed {
  Answer answer;
  Reading reading;
  std::string trouble;  // of the connection: two answers, say
};

/// Sends the call, and after a whole answer one more request: whatever came too much would spoil
/// the second answer.
Observed observe(Matrix& matrix, const Cell& cell) {
  Observed seen;
  RawClient client(matrix.fleet().port());
  client.send(cell.call.request(cell.model));
  try {
    seen.answer = client.receive();
    seen.reading = read_answer(cell.call, seen.answer);
    if (client.silent()) seen.reading.seen = Seen::silence;
    if (!seen.answer.complete) return seen;
    client.send(request_text("GET", "/api/version"));
    const Answer second = client.receive();
    if (second.status != 0 && !second.body.starts_with("{\"version\""))
      seen.trouble = "a second answer follows: " + second.raw;
  } catch (const std::exception& error) {
    seen.trouble = error.what();
  }
  return seen;
}

bool meets_connections(FaultKind kind) {
  return kind == FaultKind::reset || kind == FaultKind::starting;
}

/// Makes the fault, and takes it away at the end of the scope.
class InForce {
 public:
  InForce(Matrix& matrix, const FaultRow& row, const Cell& cell)
      : nodes_(matrix.fleet().nodes()), row_(row), node_(cell.bad) {
    if (row.stand_in) {
      const std::uint16_t port = matrix.fleet().node_port(node_);
      const std::string ip = matrix.ip_of(node_);
      nodes_.kill(node_);
      stand_in_ = std::make_unique<StandIn>(*row.stand_in, ip, port);
    } else {
      nodes_.set_fault(node_, row.fault);
      if (meets_connections(row.fault.kind)) {  // connections that are kept would not meet it
        nodes_.kill(node_);
        nodes_.restart(node_);
      }
    }
    if (row.meanwhile == FaultRow::Meanwhile::nothing) return;
    meanwhile_ = std::thread([this, before = nodes_.counters(node_)] { act_meanwhile(before); });
  }
  ~InForce() {
    if (meanwhile_.joinable()) meanwhile_.join();
    stand_in_.reset();
    nodes_.set_fault(node_, {});
    nodes_.restart(node_);
    wall_offset_s = 0;
  }
  InForce(const InForce&) = delete;
  InForce& operator=(const InForce&) = delete;

 private:
  void act_meanwhile(const sim::NodeCounters& before) {
    nodes_.wait_until([&] {
      const sim::NodeCounters now = nodes_.counters(node_);
      return now.tokens >= before.tokens + 3 || now.completed > before.completed;
    });
    if (row_.meanwhile == FaultRow::Meanwhile::kill) return nodes_.kill(node_);
    wall_offset_s = row_.meanwhile == FaultRow::Meanwhile::wall_clock_forward ? 86400 : -86400;
  }

  sim::Fleet& nodes_;
  const FaultRow& row_;
  const std::string& node_;
  std::unique_ptr<StandIn> stand_in_;
  std::thread meanwhile_;
};

bool met_by(const FaultRow& row, const InferenceCall& call) {
  switch (row.meets) {
    case FaultRow::Meets::all:
      return true;
    case FaultRow::Meets::token_writers:
      return call.has_tokens();
    case FaultRow::Meets::streams:
      return call.streams();
  }
  return true;
}

/// So that the node is late before it fails: else no second try begins.
bool comes_late(const FaultRow& row) {
  const FaultKind kind = row.fault.kind;
  return row.fault.tokens > 0 || kind == FaultKind::stall || kind == FaultKind::starting ||
         kind == FaultKind::slow || row.meanwhile == FaultRow::Meanwhile::kill ||
         row.stand_in == StandIn::Kind::silent || row.stand_in == StandIn::Kind::black_hole;
}

/// Half a record has reached the client, or the node has told it of an error: nothing can follow.
bool torn(const FaultRow& row) {
  return row.fault.kind == FaultKind::half_record ||
         row.fault.kind == FaultKind::error_after_tokens;
}

/// What the client may have seen.
std::vector<Seen> allowed(const FaultRow& row, const InferenceCall& call, Fleet fleet) {
  const Seen elsewhere = fleet == Fleet::alone ? Seen::error_answer : Seen::whole;
  switch (row.client) {
    case Client::unharmed:
      return {Seen::whole};
    case Client::elsewhere:
      // An error record: the stream had begun, with a heartbeat.
      if (call.streams() && fleet == Fleet::alone) return {elsewhere, Seen::error_record};
      return {elsewhere};
    case Client::mid_stream:
      if (!call.streams()) return {elsewhere};
      // An error answer: the first bytes and the fault came at once.
      if (fleet == Fleet::pairs && call.can_continue() && !torn(row)) return {Seen::whole};
      if (fleet == Fleet::pairs) return {Seen::whole, Seen::error_record};
      // A body that is shorter than announced, after the last record: nothing is missing.
      if (row.fault.kind == FaultKind::long_length)
        return {Seen::whole, Seen::error_record, Seen::error_answer};
      return {Seen::error_record, Seen::error_answer};
    case Client::begun_or_not:
      if (!call.streams()) return {elsewhere};
      return {elsewhere, Seen::error_record};
    case Client::any_time:
      if (!call.streams()) return {Seen::whole, Seen::error_answer};
      return {Seen::whole, Seen::error_answer, Seen::error_record};
  }
  return {};
}

/// A transcription may be plain text: its type tells nothing.
bool harmless(const FaultRow& row, const InferenceCall& call) {
  return row.fault.kind == FaultKind::content_type &&
         call.kind == InferenceCall::Kind::transcriptions;
}

void expect_client(const FaultRow& row, Matrix& matrix, const Cell& cell, const Observed& seen) {
  std::vector<Seen> may = allowed(row, cell.call, matrix.kind());
  if (harmless(row, cell.call)) may = {Seen::whole};
  EXPECT_TRUE(std::ranges::count(may, seen.reading.seen) == 1)
      << "the client saw: " << text(seen.reading.seen) << " " << seen.reading.problem << "\n"
      << seen.answer.raw;
  EXPECT_EQ(seen.trouble, "");
  if (seen.reading.seen == Seen::whole) {
    EXPECT_EQ(seen.reading.words, cell.words);
  }
  if (seen.reading.seen == Seen::error_answer) {
    EXPECT_GE(seen.answer.status, 500) << seen.answer.raw;
  }
}

/// The node serves again once the fault is gone.
void expect_recovery(Matrix& matrix, const Cell& cell) {
  Observed last;
  const bool serves = matrix.fleet().eventually([&] {
    last = observe(matrix, cell);
    // The client has its answer before the node's good name is restored, or lost by what it did
    // before: only a further request ends that.
    return last.answer.field("x-sollol-node") == cell.bad && last.reading.seen == Seen::whole &&
           matrix.fleet().state(cell.bad) == "healthy";
  });
  EXPECT_TRUE(serves) << cell.bad << " is " << matrix.fleet().state(cell.bad)
                      << "; last answer: " << last.answer.raw;
  EXPECT_EQ(last.reading.words, cell.words);
}

void run_cell(const FaultRow& row, Matrix& matrix, const Cell& cell) {
  constexpr std::array where{", another node there", ", alone", ", hedging"};
  SCOPED_TRACE(std::string(row.name) + " × " + cell.call.name +
               where[static_cast<std::size_t>(matrix.kind())]);
  TestFleet& fleet = matrix.fleet();
  const auto asked = [&](const std::string& node) {
    return node.empty() ? 0 : fleet.nodes().counters(node).of("POST " + cell.call.path);
  };
  const auto loads = [&](const std::string& node) {
    return node.empty() ? 0 : fleet.nodes().counters(node).model.loads;
  };
  {
    const auto bad_before = asked(cell.bad), good_before = asked(cell.good);
    const auto loads_before = loads(cell.good);
    const InForce in_force(matrix, row, cell);
    const Observed seen = observe(matrix, cell);
    expect_client(row, matrix, cell, seen);
    // Once more on a fresh connection where a kept one was stale, and never twice elsewhere.
    EXPECT_LE(asked(cell.bad) - bad_before, 2u);
    EXPECT_LE(asked(cell.good) - good_before, 1u + loads(cell.good) - loads_before)
        << "one request, and before it a preload where the model was cold";
    if (harmless(row, cell.call)) return;
    // On a machine that was too busy for its probes, the node may have been left out at once.
    const bool met = row.stand_in || row.fault.scope == FaultScope::all ||
                     row.meanwhile == FaultRow::Meanwhile::kill ||
                     meets_connections(row.fault.kind) || row.fault.kind == FaultKind::refuse ||
                     asked(cell.bad) > bad_before;
    // What is beaten by the second try is not held against its node.
    if (row.node == Node::out && met && matrix.kind() != Fleet::hedging) {
      EXPECT_TRUE(fleet.eventually([&] { return fleet.state(cell.bad) != "healthy"; }));
    } else if (row.node == Node::unharmed) {
      const std::string state = fleet.state(cell.bad);
      EXPECT_TRUE(state != "ejected" && state != "on trial") << state;
    }
  }
  expect_recovery(matrix, cell);
}

std::optional<Matrix>& shared_matrix(Fleet kind) {
  static std::array<std::optional<Matrix>, fleets.size()> matrices;
  return matrices[static_cast<std::size_t>(kind)];
}

Matrix& matrix_of(Fleet kind) {
  std::optional<Matrix>& matrix = shared_matrix(kind);
  if (!matrix) matrix.emplace(kind);
  return *matrix;
}

double hedges_won(Matrix& matrix) {
  const std::string text = matrix.fleet().ask("GET", "/metrics").body;
  const std::string name = "\nsollol_hedges_total{outcome=\"won\"} ";
  const auto at = text.find(name);
  return at == text.npos ? -1 : std::stod(text.substr(at + name.size()));
}

class FaultMatrix : public testing::TestWithParam<FaultRow> {
 protected:
  static void TearDownTestSuite() {
    for (const Fleet kind : fleets) shared_matrix(kind).reset();
  }
};

TEST_P(FaultMatrix, TheClientIsAnsweredAndTheNodeComesBack) {
  const FaultRow& row = GetParam();
  const double hedges_before = hedges_won(matrix_of(Fleet::hedging));
  std::vector<std::jthread> threads;
  for (const Fleet kind : fleets) {
    Matrix& matrix = matrix_of(kind);
    if (kind == Fleet::hedging && !comes_late(row)) continue;
    for (const Cell& cell : matrix.cells()) {
      if (met_by(row, cell.call))
        threads.emplace_back([&row, &matrix, &cell] { run_cell(row, matrix, cell); });
    }
  }
  threads.clear();
  if (row.fault.kind == FaultKind::stall) {
    EXPECT_GT(hedges_won(matrix_of(Fleet::hedging)), hedges_before);
  }
  for (const Fleet kind : fleets) {
    const auto idle = [&] {
      const auto status =
          boost::json::parse(matrix_of(kind).fleet().ask("GET", "/sollol/v1/status").body);
      return status.at("in_flight") == 0 && status.at("queued") == 0;
    };
    EXPECT_TRUE(matrix_of(kind).fleet().eventually(idle));
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, FaultMatrix, testing::ValuesIn(fault_rows()),
                         [](const auto& row) { return std::string(row.param.name); });

/// Every simulated fault has a row.
TEST_F(FaultMatrix, HasARowForEachSimulatedFault) {
  const auto rows = fault_rows();
  for (int kind = 0; kind <= static_cast<int>(FaultKind::foreign); ++kind) {
    const auto has = [kind](const FaultRow& row) {
      return static_cast<int>(row.fault.kind) == kind;
    };
    EXPECT_TRUE(std::ranges::any_of(rows, has)) << kind;
  }
}

/// A client that ends its sending side after its request is answered whole, or not at all.
TEST_F(FaultMatrix, AClientThatHalfClosesIsNeverAnsweredInPart) {
  Matrix& matrix = matrix_of(Fleet::pairs);
  for (const Cell& cell : matrix.cells()) {
    SCOPED_TRACE(cell.call.name);
    RawClient client(matrix.fleet().port());
    client.send(cell.call.request(cell.model));
    client.half_close();
    const Answer answer = client.receive();
    EXPECT_FALSE(client.silent());
    if (answer.complete) {
      const Reading reading = read_answer(cell.call, answer);
      EXPECT_EQ(text(reading.seen), text(Seen::whole)) << answer.raw;
      EXPECT_EQ(reading.words, cell.words);
    }
    EXPECT_EQ(matrix.fleet().state(cell.bad), "healthy") << "the client's doing is not the node's";
  }
}

/// While the process can open nothing, requests are refused in their API's form or served over
/// connections that are open; nodes keep their good name.
TEST_F(FaultMatrix, WithoutFreeDescriptorsRequestsAreRefusedAndLaterServed) {
  Matrix& matrix = matrix_of(Fleet::alone);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (const Cell& cell : matrix.cells()) {
    clients.push_back(std::make_unique<RawClient>(matrix.fleet().port()));
    clients.back()->send(request_text("GET", "/api/version"));
    EXPECT_EQ(clients.back()->receive().status, 200) << cell.call.name;
  }
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const Cell& cell = matrix.cells()[i];
    clients[i]->send(cell.call.request(cell.model));
    answers.push_back(clients[i]->receive());
    EXPECT_FALSE(clients[i]->silent()) << cell.call.name;
  }
  setrlimit(RLIMIT_NOFILE, &before);
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const Cell& cell = matrix.cells()[i];
    const Reading reading = read_answer(cell.call, answers[i]);
    EXPECT_TRUE(reading.seen == Seen::whole || reading.seen == Seen::error_answer)
        << cell.call.name << " saw " << text(reading.seen) << " " << reading.problem
        << answers[i].raw;
  }
  for (const Cell& cell : matrix.cells()) expect_recovery(matrix, cell);
}

/// A machine that was frozen for a minute and goes on, requests under way: whatever they get is
/// whole or says that it is not, and all serve again.
TEST_F(FaultMatrix, AMinuteThatNobodySawLosesNothing) {
  Matrix& matrix = matrix_of(Fleet::pairs);
  std::vector<std::jthread> threads;
  std::latch under_way(static_cast<std::ptrdiff_t>(matrix.cells().size()) + 1);
  for (const Cell& cell : matrix.cells()) {
    threads.emplace_back([&matrix, &cell, &under_way] {
      SCOPED_TRACE(cell.call.name);
      RawClient client(matrix.fleet().port());
      client.send(cell.call.request(cell.model));
      under_way.arrive_and_wait();
      const Answer answer = client.receive();
      const Reading reading = read_answer(cell.call, answer);
      EXPECT_FALSE(client.silent());
      EXPECT_TRUE(reading.seen == Seen::whole || reading.seen == Seen::error_answer ||
                  reading.seen == Seen::error_record)
          << text(reading.seen) << " " << reading.problem << answer.raw;
      if (reading.seen == Seen::whole) {
        EXPECT_EQ(reading.words, cell.words);
      }
    });
  }
  under_way.arrive_and_wait();
  steady_offset_s += 60;
  threads.clear();
  for (const Cell& cell : matrix.cells()) expect_recovery(matrix, cell);
}

/// However much fails, retries stay a share of the requests.
TEST_F(FaultMatrix, RetriesAreBounded) {
  constexpr unsigned requests = 60, percent = 20, reserve = 10;
  TestFleet fleet(equal_nodes(3, {chat_model()}), [](gateway::Options& options) {
    options.retry.budget_percent = percent;
    options.health.failures_to_eject = 1000;
    options.health.window_requests = 64;
    options.health.error_rate_percent = 101;
  });
  for (const std::string& name : fleet.nodes().names())
    fleet.nodes().set_fault(name, {.kind = FaultKind::reset_after_head});
  for (unsigned i = 0; i < requests; ++i) {
    const Answer answer =
        fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"Hello"})");
    EXPECT_EQ(answer.status, 502) << answer.body;
  }
  std::uint64_t attempts = 0;
  for (const std::string& name : fleet.nodes().names())
    attempts += fleet.nodes().counters(name).of("POST /api/generate");
  EXPECT_GT(attempts, requests);
  EXPECT_LE(attempts, requests + reserve + requests * percent / 100);
}

}  // namespace
}  // namespace sollol::test

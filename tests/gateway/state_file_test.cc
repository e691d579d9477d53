#include "gateway/state_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "storage/sqlite.h"

namespace sollol::gateway {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr Moment first{TimePoint(1h), WallTime(std::chrono::seconds(1'700'000'000))};

cluster::KeptEstimate measured(double value, Duration ago) {
  return {.value = value, .spread = 0.125, .samples = 12, .at = first.now - ago};
}

SavedState some_state() {
  SavedNode node{
      .url = "http://10.0.0.5:11434",
      .name = "gpu \"1\"",
      .priority = 2,
      .slots = 3,
      .machine = "tower",
      .device = "GPU-1",
      .added = true,
      .admin = cluster::Admin::draining,
      .seen = std::chrono::floor<std::chrono::days>(first.wall),
      .learnt = {
          .decode_bytes_per_s = 2e11, .prefill_weights_per_s = 4e12, .load_bytes_per_s = 1e9}};
  node.learnt.models.push_back({.key = "registry/llama3.2:latest",
                                .digest = "d1",
                                .slots = 4,
                                .prefill = measured(1234.5, 3s),
                                .token = {.alone_s = 0.02,
                                          .share = 0.3,
                                          .device_share = 1.5,
                                          .error = measured(1.01, 5s),
                                          .sums = {1, 2, 3, 4, 5, 6, 7, 8, 9}},
                                .load = measured(7, 60s),
                                .lateness = measured(1.25, 9s),
                                .service_s = 0.5,
                                .longest_gap_s = 0.25,
                                .bytes_per_token = 3.5});
  node.learnt.models.push_back({.key = "registry/untouched:latest", .digest = "d2"});
  const SavedNode other{.url = "http://10.0.0.6:11434",
                        .name = "b",
                        .seen = std::chrono::floor<std::chrono::days>(first.wall)};
  const KeptFinding found{
      .a = {.url = "http://10.0.0.5:11434", .addresses = {"10.0.0.5", "::1"}, .version = "0.33.0"},
      .b = {.url = "http://10.0.0.5:11435"},
      .relation = locality::Relation::same_device,
      .confidence = 0.9995,
      .slowdown = 1.9,
      .source = MeasuredBy::traffic,
      .when = first.wall};
  return {.nodes = {node, other},
          .contention = {found},
          .wishes = {{"registry/llama3.2:latest", {"llama3.2", 2}}},
          .answer_lengths = {{1, measured(100, 1s)}, {~std::uint64_t{0}, measured(900, 2h)}}};
}

class StateFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sollol-state-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder = pattern;
  }
  void TearDown() override { fs::remove_all(folder); }

  void fill(std::string_view bytes) { std::ofstream(path(), std::ios::binary) << bytes; }
  std::string bytes() {
    std::ostringstream out;
    out << std::ifstream(path(), std::ios::binary).rdbuf();
    return std::move(out).str();
  }
  std::string path() const { return (folder / "kept" / "state.db").string(); }
  Result<SavedState> read(const Moment& at = first) { return StateFile(path()).read(at); }
  void write(const SavedState& state, const Moment& at = first) {
    const auto done = StateFile(path()).write(state, at);
    ASSERT_TRUE(done) << done.error().detail;
  }
  fs::path folder;
};

TEST_F(StateFiles, ComeBackAsTheyWere) {
  EXPECT_EQ(read().error().kind, ErrorKind::not_found);
  write(some_state());
  const auto back = read();
  ASSERT_TRUE(back) << back.error().detail;
  // The file has wall time, to a fraction of a microsecond.
  const auto near = [](const cluster::KeptEstimate& a, const cluster::KeptEstimate& b) {
    EXPECT_EQ(a.value, b.value);
    EXPECT_EQ(a.spread, b.spread);
    EXPECT_EQ(a.samples, b.samples);
    EXPECT_LT(a.at > b.at ? a.at - b.at : b.at - a.at, 10us);
  };
  const SavedState expected = some_state();
  ASSERT_EQ(back->nodes.size(), 2u);
  const SavedNode& node = back->nodes[0];
  const SavedNode& was = expected.nodes[0];
  EXPECT_EQ(std::tie(node.url, node.name, node.priority, node.slots, node.machine, node.device,
                     node.added, node.admin, node.seen),
            std::tie(was.url, was.name, was.priority, was.slots, was.machine, was.device, was.added,
                     was.admin, was.seen));
  EXPECT_EQ(node.learnt.decode_bytes_per_s, 2e11);
  EXPECT_EQ(node.learnt.prefill_weights_per_s, 4e12);
  EXPECT_EQ(node.learnt.load_bytes_per_s, 1e9);
  ASSERT_EQ(node.learnt.models.size(), 2u);
  const cluster::LearntModel& model = node.learnt.models[0];
  const cluster::LearntModel& model_was = was.learnt.models[0];
  EXPECT_EQ(std::tie(model.key, model.digest, model.slots, model.service_s, model.longest_gap_s,
                     model.bytes_per_token, model.token.alone_s, model.token.share,
                     model.token.device_share, model.token.sums),
            std::tie(model_was.key, model_was.digest, model_was.slots, model_was.service_s,
                     model_was.longest_gap_s, model_was.bytes_per_token, model_was.token.alone_s,
                     model_was.token.share, model_was.token.device_share, model_was.token.sums));
  near(model.prefill, model_was.prefill);
  near(model.load, model_was.load);
  near(model.lateness, model_was.lateness);
  near(model.token.error, model_was.token.error);
  EXPECT_EQ(node.learnt.models[1].prefill.value, 0);
  ASSERT_EQ(back->contention.size(), 1u);
  EXPECT_EQ(back->contention[0], expected.contention[0]);
  EXPECT_EQ(back->wishes, expected.wishes);
  ASSERT_EQ(back->answer_lengths.size(), 2u);
  near(back->answer_lengths.at(~std::uint64_t{0}), expected.answer_lengths.at(~std::uint64_t{0}));
}

TEST_F(StateFiles, OfAnEarlierVersionAreReadAndWrittenOn) {
  write(some_state());
  {
    storage::Database database(path());
    ASSERT_TRUE(
        database.run("ALTER TABLE replica DROP COLUMN lateness;"
                     "ALTER TABLE replica DROP COLUMN lateness_spread;"
                     "ALTER TABLE replica DROP COLUMN lateness_samples;"
                     "ALTER TABLE replica DROP COLUMN lateness_at;"
                     "DROP TABLE wish;"
                     "ALTER TABLE replica DROP COLUMN token_device_share;"
                     "ALTER TABLE replica DROP COLUMN token_n;"
                     "ALTER TABLE replica DROP COLUMN token_nn;"
                     "ALTER TABLE replica DROP COLUMN token_xn;"
                     "ALTER TABLE replica DROP COLUMN token_ny;"
                     "PRAGMA user_version = 1"));
  }
  StateFile file(path());
  const auto early = file.read(first);
  ASSERT_TRUE(early) << early.error().detail;
  EXPECT_EQ(early->nodes[0].learnt.models[0].load.value, 7);
  EXPECT_EQ(early->nodes[0].learnt.models[0].lateness, cluster::KeptEstimate{});
  const cluster::KeptTokenTime& token = early->nodes[0].learnt.models[0].token;
  EXPECT_EQ(token.device_share, cluster::TokenTime::device_share_guess);
  EXPECT_EQ(token.sums, (std::array<double, 9>{1, 2, 3, 4, 5}));
  const auto done = file.write(some_state(), first);
  ASSERT_TRUE(done) << done.error().detail;
  EXPECT_EQ(read()->nodes[0].learnt.models[0].lateness.value, 1.25);
  EXPECT_EQ(read()->nodes[0].learnt.models[0].token.device_share, 1.5);
}

TEST_F(StateFiles, MeasurementsGrowOldWhileNoProcessRuns) {
  write(some_state());
  // Another process, whose clock began two minutes ago, a day later.
  const Moment later{TimePoint(2min), first.wall + 24h};
  const auto back = read(later);
  ASSERT_TRUE(back);
  cluster::Estimate load;
  load.restore(back->nodes[0].learnt.models[0].load);
  EXPECT_NEAR(load.weight(later.now), 6, 0.01) << "half of 12 after one half-life";
  EXPECT_NEAR(load.value(), 7, 1e-9);
}

TEST_F(StateFiles, OnlyChangesAreWrittenAndWhatIsGoneGoes) {
  StateFile file(path());
  SavedState state = some_state();
  ASSERT_TRUE(file.write(state, first));
  const auto changes = [&] {
    storage::Database database(path());
    return *database.number("SELECT count(*) FROM node") * 100 +
           *database.number("SELECT count(*) FROM replica");
  };
  EXPECT_EQ(changes(), 202);
  {
    // A row that the file's owner has not changed is left alone.
    storage::Database database(path());
    ASSERT_TRUE(database.run("UPDATE node SET name = 'by hand' WHERE name = 'b'"));
  }
  state.nodes[0].learnt.models.pop_back();
  ASSERT_TRUE(file.write(state, first));
  EXPECT_EQ(changes(), 201);
  EXPECT_EQ(read()->nodes[1].name, "by hand");
  state.nodes.erase(state.nodes.begin());
  ASSERT_TRUE(file.write(state, first));
  EXPECT_EQ(changes(), 100);

  // A later process deletes what it read and no longer has.
  StateFile next(path());
  ASSERT_TRUE(next.read(first));
  ASSERT_TRUE(next.write({}, first));
  EXPECT_EQ(changes(), 0);
}

TEST_F(StateFiles, OfNodesLongGoneNothingIsKeptUnlessTheyWereAdded) {
  write(some_state());
  const Moment late{first.now, first.wall + state_kept + 48h};
  const auto back = read(late);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->nodes.size(), 1u);
  EXPECT_TRUE(back->nodes[0].added);
  EXPECT_TRUE(back->answer_lengths.empty());
  StateFile file(path());
  ASSERT_TRUE(file.read(late));
  ASSERT_TRUE(
      file.write({.contention = back->contention, .answer_lengths = {{5, measured(1, 1s)}}}, late));
  storage::Database database(path());
  EXPECT_EQ(database.number("SELECT count(*) FROM node"), 0);
  EXPECT_EQ(database.number("SELECT count(*) FROM answer_length"), 1);
}

TEST_F(StateFiles, TwoGatewaysWithOneFileKeepEachOthersNodes) {
  SavedState state = some_state();
  StateFile a(path()), b(path());
  ASSERT_TRUE(a.write({.nodes = {state.nodes[0]}}, first));
  ASSERT_TRUE(b.write({.nodes = {state.nodes[1]}}, first));
  state.nodes[0].name = "renamed";
  ASSERT_TRUE(a.write({.nodes = {state.nodes[0]}}, first));
  const auto both = read();
  ASSERT_EQ(both->nodes.size(), 2u);
  EXPECT_EQ(both->nodes[0].name, "renamed");
  EXPECT_EQ(both->nodes[1].name, "b");
}

TEST_F(StateFiles, AreForTheirOwnerAlone) {
  write(some_state());
  struct stat status{};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(StateFiles, AFileThatWasMovedAwayIsWrittenAnew) {
  StateFile file(path());
  ASSERT_TRUE(file.write(some_state(), first));
  fs::remove(path());
  ASSERT_TRUE(file.write(some_state(), first));
  EXPECT_EQ(read()->nodes.size(), 2u);
}

struct BadState {
  const char* name;
  std::string bytes;
  const char* says;
};
class NoStateFile : public StateFiles, public testing::WithParamInterface<BadState> {};

TEST_P(NoStateFile, IsRefusedAndMakesRoom) {
  fs::create_directories(folder / "kept");
  fill(GetParam().bytes);
  StateFile file(path());
  const auto read = file.read(first);
  const auto written = file.write(some_state(), first);
  ASSERT_FALSE(read);
  ASSERT_FALSE(written);
  for (const Error& refused : {read.error(), written.error()}) {
    EXPECT_EQ(refused.kind, ErrorKind::bad_input);
    EXPECT_TRUE(refused.detail.contains(GetParam().says)) << refused.detail;
  }
  const std::string aside = file.set_aside();
  EXPECT_TRUE(file.write(some_state(), first));
  EXPECT_TRUE(file.read(first));
  EXPECT_EQ(fs::file_size(aside), GetParam().bytes.size());
}

std::string database_with(const char* text) {
  std::string pattern = (fs::temp_directory_path() / "sollol-made-XXXXXX").string();
  ::close(::mkstemp(pattern.data()));
  EXPECT_TRUE(storage::Database(pattern).run(text));
  std::ostringstream out;
  out << std::ifstream(pattern, std::ios::binary).rdbuf();
  fs::remove(pattern);
  return std::move(out).str();
}

INSTANTIATE_TEST_SUITE_P(
    Table, NoStateFile,
    testing::Values(
        BadState{"json", R"({"sollol_state":1,"nodes":[]})", "is no state file"},
        BadState{"zeros", std::string(8192, '\0'), "is no state file"},
        BadState{"of_another_program", database_with("CREATE TABLE t (x); PRAGMA user_version = 1"),
                 "is another program's database"},
        BadState{"newer",
                 database_with("CREATE TABLE t (x); PRAGMA application_id = 0x534f4c4c; "
                               "PRAGMA user_version = 99"),
                 "was written by a newer version of sollol"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(StateFiles, WhatNoProgramWroteIsReadOrRefused) {
  write(some_state());
  const std::string good = bytes();
  SeededRandom random(1);
  unsigned refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string bad = good;
    for (unsigned flips = 1 + random.bits() % 64; flips > 0; --flips)
      bad[random.bits() % bad.size()] = static_cast<char>(random.bits());
    if (round % 4 == 0) bad.resize(random.bits() % bad.size());
    fill(bad);
    StateFile file(path());
    const auto back = file.read(first);
    if (!back) {
      ++refused;
      ASSERT_EQ(back.error().kind, ErrorKind::bad_input) << back.error().detail;
      file.set_aside();
    } else {
      for (const SavedNode& node : back->nodes) {
        for (const cluster::LearntModel& model : node.learnt.models) {
          cluster::ReplicaLive live(0);
          cluster::restore(live, model);
          ASSERT_TRUE(std::isfinite(live.decode_tokens_per_s) && live.decode_tokens_per_s >= 0);
          ASSERT_TRUE(std::isfinite(live.load_s) && live.load_s >= 0);
        }
      }
    }
    const auto done = file.write(some_state(), first);
    if (!done) {
      ASSERT_EQ(done.error().kind, ErrorKind::bad_input) << done.error().detail;
    }
  }
  EXPECT_GT(refused, 50u);
}

TEST_F(StateFiles, AProcessThatIsKilledWhileItWritesLeavesAStateOrTheNext) {
  SavedState state = some_state();
  state.nodes.clear();
  for (int i = 0; i < 200; ++i)
    state.nodes.push_back({.url = "http://10.0.0.5:" + std::to_string(1000 + i), .added = true});
  write(state);
  SeededRandom random(2);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      StateFile file(path());
      for (std::uint32_t turn = 1;; ++turn) {
        for (SavedNode& node : state.nodes) node.priority = turn;
        if (!file.write(state, first)) ::_exit(1);
      }
    }
    ::usleep(static_cast<useconds_t>(random.bits() % 20'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it could not write";
    const auto back = read();
    ASSERT_TRUE(back) << back.error().detail;
    ASSERT_EQ(back->nodes.size(), 200u);
    for (const SavedNode& node : back->nodes)
      ASSERT_EQ(node.priority, back->nodes[0].priority) << "a part of a write";
  }
}

}  // namespace
}  // namespace sollol::gateway

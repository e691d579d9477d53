#include "gateway/state_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <ranges>
#include <span>
#include <sstream>
#include <system_error>

#include "discovery/node_spec.h"
#include "storage/sqlite.h"

namespace sollol::gateway {

using storage::Database;
using storage::Problem;
using storage::Statement;

namespace {

namespace fs = std::filesystem;

/// Tells a state file from other programs' databases: "SOLL".
constexpr std::int64_t application = 0x534f4c4c;

/// What makes a file of each version one of the next; an empty file is of version 0.
constexpr std::array migrations{R"(
  CREATE TABLE node (
    url TEXT PRIMARY KEY, name TEXT, priority INTEGER, slots INTEGER, host TEXT, device TEXT,
    added INTEGER, admin TEXT, seen_day INTEGER,
    decode_bytes_per_s REAL, prefill_weights_per_s REAL, load_bytes_per_s REAL) WITHOUT ROWID;
  CREATE TABLE replica (
    url TEXT, model TEXT, digest TEXT, slots INTEGER, service_s REAL, longest_gap_s REAL,
    bytes_per_token REAL,
    prefill_tokens_per_s REAL, prefill_spread REAL, prefill_samples REAL, prefill_at REAL,
    load_s REAL, load_spread REAL, load_samples REAL, load_at REAL,
    token_s REAL, token_share REAL,
    token_error REAL, token_spread REAL, token_samples REAL, token_at REAL,
    token_sum REAL, token_x REAL, token_xx REAL, token_y REAL, token_xy REAL,
    PRIMARY KEY (url, model)) WITHOUT ROWID;
  CREATE TABLE contention (
    a_url TEXT, a_addresses TEXT, a_version TEXT, b_url TEXT, b_addresses TEXT, b_version TEXT,
    relation TEXT, confidence REAL, slowdown REAL, source TEXT, measured_at REAL,
    PRIMARY KEY (a_url, b_url)) WITHOUT ROWID;
  CREATE TABLE answer_length (
    key INTEGER PRIMARY KEY, tokens REAL, spread REAL, samples REAL, measured_at REAL);
)",
                                R"(
  ALTER TABLE replica ADD COLUMN lateness REAL;
  ALTER TABLE replica ADD COLUMN lateness_spread REAL;
  ALTER TABLE replica ADD COLUMN lateness_samples REAL;
  ALTER TABLE replica ADD COLUMN lateness_at REAL;
)",
                                R"(
  CREATE TABLE wish (model TEXT PRIMARY KEY, name TEXT, replicas INTEGER) WITHOUT ROWID;
)",
                                R"(
  ALTER TABLE replica ADD COLUMN token_device_share REAL;
  ALTER TABLE replica ADD COLUMN token_n REAL;
  ALTER TABLE replica ADD COLUMN token_nn REAL;
  ALTER TABLE replica ADD COLUMN token_xn REAL;
  ALTER TABLE replica ADD COLUMN token_ny REAL;
)"};
constexpr auto version = static_cast<std::int64_t>(migrations.size());
/// The first whose replicas have a lateness.
constexpr std::int64_t version_with_lateness = 2;
/// The first with wishes.
constexpr std::int64_t version_with_wishes = 3;
/// The first whose replicas know what neighbours on their device cost.
constexpr std::int64_t version_with_device_share = 4;
/// Of the sums of a `TokenTime`, those that every version has.
constexpr std::size_t sums_always = 5;

/// How long another process may take to write.
constexpr const char* patience = "PRAGMA busy_timeout = 1000";

Error error_of(std::string_view doing, const std::string& path, const Problem& problem) {
  if (problem.kind == Problem::Kind::damaged)
    return bad_input(fmt::format("{} is no state file, or it is damaged ({})", path, problem.text));
  return {ErrorKind::forbidden, Origin::gateway, Retry::later,
          fmt::format("cannot {} {}: {}", doing, path, problem.text)};
}

std::unexpected<Error> no_state_file(const std::string& path, std::string_view why) {
  return std::unexpected(bad_input(fmt::format("{} {}", path, why)));
}

/// Whether the file is ours, and of which version.
Result<std::int64_t> version_of(Database& database, const std::string& path,
                                std::string_view doing) {
  const auto failed = [&] { return std::unexpected(error_of(doing, path, database.problem())); };
  if (!database.is_open() || !database.run(patience)) return failed();
  const auto tables = database.number("SELECT count(*) FROM sqlite_schema");
  if (!tables) return failed();
  if (*tables == 0) return 0;
  const auto whose = database.number("PRAGMA application_id");
  const auto has = database.number("PRAGMA user_version");
  if (!whose || !has) return failed();
  if (*whose != application || *has < 1)
    return no_state_file(path, "is another program's database");
  if (*has > version) return no_state_file(path, "was written by a newer version of sollol");
  return *has;
}

// ---- values

/// A rate or duration: 0 (unknown) for what cannot be one.
double positive(double value) { return std::isfinite(value) && value > 0 ? value : 0; }
std::uint32_t count(std::int64_t value) {
  return value >= 0 && value <= 1'000'000 ? static_cast<std::uint32_t>(value) : 0;
}

double unix_seconds(TimePoint time, const Moment& at) {
  return std::chrono::duration<double>(at.wall.time_since_epoch()).count() -
         to_seconds(at.now - time);
}
/// A time that lies ahead, by a clock that was set back, is now.
TimePoint time_of(double unix_seconds, const Moment& at) {
  const double age_s =
      std::chrono::duration<double>(at.wall.time_since_epoch()).count() - unix_seconds;
  const double most = std::chrono::duration<double>(state_kept).count();
  return at.now - from_seconds(std::isfinite(age_s) ? std::clamp(age_s, 0.0, most) : most);
}

void set(Statement& put, int first, const cluster::KeptEstimate& estimate, const Moment& at) {
  put.set(first, estimate.value);
  put.set(first + 1, estimate.spread);
  put.set(first + 2, estimate.samples);
  put.set(first + 3, unix_seconds(estimate.at, at));
}
cluster::KeptEstimate estimate(const Statement& got, int first, const Moment& at) {
  return {.value = positive(got.real(first)),
          .spread = positive(got.real(first + 1)),
          .samples = positive(got.real(first + 2)),
          .at = time_of(got.real(first + 3), at)};
}

// ---- rows

void set(Statement& put, const SavedNode& node) {
  put.set(1, node.url);
  put.set(2, node.name);
  put.set(3, std::int64_t{node.priority});
  put.set(4, std::int64_t{node.slots});
  put.set(5, node.machine);
  put.set(6, node.device);
  put.set(7, std::int64_t{node.added});
  put.set(8, std::string(node.admin == cluster::Admin::enabled ? "enabled" : "draining"));
  put.set(9, std::int64_t{node.seen.time_since_epoch().count()});
  put.set(10, node.learnt.decode_bytes_per_s);
  put.set(11, node.learnt.prefill_weights_per_s);
  put.set(12, node.learnt.load_bytes_per_s);
}
SavedNode node_of(const Statement& got) {
  SavedNode node{.url = got.text(0),
                 .name = discovery::parse_node_name(got.text(1)).value_or(""),
                 .priority = count(got.number(2)),
                 .slots = count(got.number(3)),
                 .machine = got.text(4),
                 .device = got.text(5),
                 .added = got.number(6) != 0,
                 .seen = std::chrono::sys_days(std::chrono::days(got.number(8)))};
  if (got.text(7) == "draining") node.admin = cluster::Admin::draining;
  node.learnt.decode_bytes_per_s = positive(got.real(9));
  node.learnt.prefill_weights_per_s = positive(got.real(10));
  node.learnt.load_bytes_per_s = positive(got.real(11));
  return node;
}

void set(Statement& put, const std::string& url, const cluster::LearntModel& model,
         const Moment& at) {
  put.set(1, url);
  put.set(2, model.key);
  put.set(3, model.digest);
  put.set(4, std::int64_t{model.slots});
  put.set(5, model.service_s);
  put.set(6, model.longest_gap_s);
  put.set(7, model.bytes_per_token);
  set(put, 8, model.prefill, at);
  set(put, 12, model.load, at);
  put.set(16, model.token.alone_s);
  put.set(17, model.token.share);
  set(put, 18, model.token.error, at);
  int column = 22;
  const std::span sums(model.token.sums);
  for (const double sum : sums.first(sums_always)) put.set(column++, sum);
  set(put, column, model.lateness, at);
  column += 4;
  put.set(column++, model.token.device_share);
  for (const double sum : sums.subspan(sums_always)) put.set(column++, sum);
}
cluster::LearntModel model_of(const Statement& got, std::int64_t has, const Moment& at) {
  cluster::LearntModel model{.key = got.text(1),
                             .digest = got.text(2),
                             .slots = count(got.number(3)),
                             .prefill = estimate(got, 7, at),
                             .load = estimate(got, 11, at),
                             .service_s = positive(got.real(4)),
                             .longest_gap_s = positive(got.real(5)),
                             .bytes_per_token = positive(got.real(6))};
  model.token = {.alone_s = positive(got.real(15)),
                 .share = positive(got.real(16)),
                 .device_share = cluster::TokenTime::device_share_guess,
                 .error = estimate(got, 17, at)};
  int column = 21;
  const std::span sums(model.token.sums);
  for (double& sum : sums.first(sums_always)) sum = positive(got.real(column++));
  if (has >= version_with_lateness) model.lateness = estimate(got, column, at);
  if (has < version_with_device_share) return model;
  column += 4;
  model.token.device_share = positive(got.real(column++));
  for (double& sum : sums.subspan(sums_always)) sum = positive(got.real(column++));
  return model;
}

/// Addresses are words without blanks.
std::string words(const std::vector<std::string>& list) {
  return fmt::format("{}", fmt::join(list, " "));
}
std::vector<std::string> list_of(const std::string& words) {
  std::istringstream in(words);
  return {std::istream_iterator<std::string>(in), {}};
}

void set(Statement& put, const KeptFinding& finding) {
  put.set(1, finding.a.url);
  put.set(2, words(finding.a.addresses));
  put.set(3, finding.a.version);
  put.set(4, finding.b.url);
  put.set(5, words(finding.b.addresses));
  put.set(6, finding.b.version);
  put.set(7, std::string(name(finding.relation)));
  put.set(8, finding.confidence);
  put.set(9, finding.slowdown);
  put.set(10, std::string(name(finding.source)));
  put.set(11, std::chrono::duration<double>(finding.when.time_since_epoch()).count());
}
/// nullopt: it makes no sense.
std::optional<KeptFinding> finding_of(const Statement& got) {
  KeptFinding finding{
      .a = {.url = got.text(0), .addresses = list_of(got.text(1)), .version = got.text(2)},
      .b = {.url = got.text(3), .addresses = list_of(got.text(4)), .version = got.text(5)},
      .confidence = positive(got.real(7)),
      .slowdown = positive(got.real(8))};
  const auto relation = parse_relation(got.text(6));
  const double when = got.real(10);
  const bool sound = relation && finding.confidence > 0 && finding.confidence <= 1 && when > 0 &&
                     when < 1e10 && !finding.a.url.empty() && finding.a.url < finding.b.url;
  if (!sound) return std::nullopt;
  finding.relation = *relation;
  if (got.text(9) == name(MeasuredBy::traffic)) finding.source = MeasuredBy::traffic;
  finding.when =
      WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::duration<double>(when)));
  return finding;
}

std::string parameters(int count) {
  std::string out = "?";
  for (int i = 1; i < count; ++i) out += ", ?";
  return out;
}
Statement putting(Database& database, std::string_view table, int columns) {
  return database.prepare(
      fmt::format("INSERT OR REPLACE INTO {} VALUES ({})", table, parameters(columns)).c_str());
}

/// Without its models' rows where it has none.
bool put_node(Database& database, const SavedNode& node, const Moment& at) {
  Statement put = putting(database, "node", 12);
  set(put, node);
  Statement drop = database.prepare("DELETE FROM replica WHERE url = ?");
  drop.set(1, node.url);
  if (!put.run() || !drop.run()) return false;
  Statement put_model = putting(database, "replica", 35);
  return std::ranges::all_of(node.learnt.models, [&](const cluster::LearntModel& model) {
    set(put_model, node.url, model, at);
    return put_model.run();
  });
}

bool drop_node(Database& database, const std::string& url) {
  Statement node = database.prepare("DELETE FROM node WHERE url = ?");
  Statement models = database.prepare("DELETE FROM replica WHERE url = ?");
  node.set(1, url);
  models.set(1, url);
  return node.run() && models.run();
}

bool put_findings(Database& database, const std::vector<KeptFinding>& findings) {
  if (!database.run("DELETE FROM contention")) return false;
  Statement put = putting(database, "contention", 11);
  return std::ranges::all_of(findings, [&](const KeptFinding& finding) {
    set(put, finding);
    return put.run();
  });
}

bool put_wishes(Database& database, const SavedWishes& wishes) {
  if (!database.run("DELETE FROM wish")) return false;
  Statement put = putting(database, "wish", 3);
  return std::ranges::all_of(wishes, [&](const auto& wish) {
    put.set(1, wish.first);
    put.set(2, wish.second.first);
    put.set(3, std::int64_t{wish.second.second});
    return put.run();
  });
}

using Lengths = std::map<std::uint64_t, cluster::KeptEstimate>;

bool put_lengths(Database& database, const Lengths& lengths, const Lengths& written,
                 const Moment& at) {
  Statement put = putting(database, "answer_length", 5);
  return std::ranges::all_of(lengths, [&](const auto& entry) {
    const auto known = written.find(entry.first);
    if (known != written.end() && known->second == entry.second) return true;
    put.set(1, static_cast<std::int64_t>(entry.first));
    set(put, 2, entry.second, at);
    return put.run();
  });
}

bool forget_old(Database& database, std::chrono::sys_days oldest) {
  Statement nodes = database.prepare("DELETE FROM node WHERE added = 0 AND seen_day < ?");
  Statement lengths = database.prepare("DELETE FROM answer_length WHERE measured_at < ?");
  nodes.set(1, std::int64_t{oldest.time_since_epoch().count()});
  lengths.set(1, std::int64_t{oldest.time_since_epoch() / std::chrono::seconds(1)});
  return nodes.run() && lengths.run() &&
         database.run("DELETE FROM replica WHERE url NOT IN (SELECT url FROM node)");
}

std::chrono::sys_days oldest_kept(const Moment& at) {
  return std::chrono::floor<std::chrono::days>(at.wall) - state_kept;
}

/// Makes a file of an earlier version, or an empty one, one of this.
bool migrate(Database& database, std::int64_t from) {
  for (auto at = static_cast<std::size_t>(from); at < migrations.size(); ++at) {
    if (!database.run(migrations[at])) return false;
  }
  return database.run(fmt::format("PRAGMA application_id = {}", application).c_str()) &&
         database.run(fmt::format("PRAGMA user_version = {}", version).c_str());
}

/// SQLite makes files that all can read.
Result<void> make_file(const std::string& path) {
  std::error_code error;
  if (const fs::path folder = fs::path(path).parent_path(); !folder.empty())
    fs::create_directories(folder, error);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  return std::unexpected(
      error_of("write", path, {Problem::Kind::failed, std::generic_category().message(errno)}));
}

}  // namespace

Result<SavedState> StateFile::read(const Moment& at) {
  std::error_code error;
  if (!fs::exists(path_, error)) {
    return std::unexpected(
        Error{ErrorKind::not_found, Origin::gateway, Retry::never, path_ + " is not there"});
  }
  Database database(path_);
  const auto has = version_of(database, path_, "read");
  if (!has) return std::unexpected(has.error());
  if (*has == 0) return SavedState{};
  const auto failed = [&] { return std::unexpected(error_of("read", path_, database.problem())); };
  Statement check = database.prepare("PRAGMA quick_check(1)");
  if (!check.row()) return failed();
  if (check.text(0) != "ok")
    return std::unexpected(error_of("read", path_, {Problem::Kind::damaged, check.text(0)}));

  SavedState state;
  const std::chrono::sys_days oldest = oldest_kept(at);
  std::map<std::string, std::size_t, std::less<>> place;
  Statement nodes = database.prepare("SELECT * FROM node");
  while (nodes.row()) {
    SavedNode node = node_of(nodes);
    if (!node.added && node.seen < oldest) continue;
    place.emplace(node.url, state.nodes.size());
    state.nodes.push_back(std::move(node));
  }
  Statement models = database.prepare("SELECT * FROM replica");
  while (models.row()) {
    const auto found = place.find(models.text(0));
    if (found != place.end())
      state.nodes[found->second].learnt.models.push_back(model_of(models, *has, at));
  }
  Statement findings = database.prepare("SELECT * FROM contention");
  while (findings.row()) {
    if (auto finding = finding_of(findings)) state.contention.push_back(std::move(*finding));
  }
  Statement lengths = database.prepare("SELECT * FROM answer_length WHERE measured_at >= ?");
  lengths.set(1, std::int64_t{oldest.time_since_epoch() / std::chrono::seconds(1)});
  while (lengths.row()) {
    state.answer_lengths.emplace(static_cast<std::uint64_t>(lengths.number(0)),
                                 estimate(lengths, 1, at));
  }
  Statement wishes =
      database.prepare(*has < version_with_wishes ? "SELECT 0 WHERE 0" : "SELECT * FROM wish");
  while (wishes.row()) {
    if (const std::uint32_t replicas = count(wishes.number(2)); replicas > 0)
      state.wishes.emplace(wishes.text(0), std::pair(wishes.text(1), replicas));
  }
  for (const Statement* each : {&nodes, &models, &findings, &lengths, &wishes}) {
    if (!each->ended()) return failed();
  }
  written_nodes_.clear();
  for (const SavedNode& node : state.nodes) written_nodes_.emplace(node.url, node);
  written_ = {.contention = state.contention,
              .wishes = state.wishes,
              .answer_lengths = state.answer_lengths};
  return state;
}

Result<void> StateFile::write(const SavedState& state, const Moment& at) {
  std::map<std::string, SavedNode> nodes;
  for (const SavedNode& node : state.nodes) nodes.emplace(node.url, node);
  const bool nothing_new = nodes == written_nodes_ && state.contention == written_.contention &&
                           state.wishes == written_.wishes &&
                           state.answer_lengths == written_.answer_lengths;
  std::error_code error;
  const bool there = fs::exists(path_, error);
  if (nothing_new && there) return {};
  if (!there) {
    if (const auto made = make_file(path_); !made) return made;
  }
  Database database(path_);
  const auto has = version_of(database, path_, "write");
  if (!has) return std::unexpected(has.error());
  if (*has == 0) {
    written_nodes_.clear();
    written_ = {};
  }
  const auto problem = database.together([&] {
    if (*has < version && !migrate(database, *has)) return false;
    for (const auto& [url, node] : nodes) {
      const auto known = written_nodes_.find(url);
      if (known != written_nodes_.end() && known->second == node) continue;
      if (!put_node(database, node, at)) return false;
    }
    for (const auto& [url, node] : written_nodes_) {
      if (!nodes.contains(url) && !drop_node(database, url)) return false;
    }
    if (state.contention != written_.contention && !put_findings(database, state.contention))
      return false;
    if (state.wishes != written_.wishes && !put_wishes(database, state.wishes)) return false;
    return put_lengths(database, state.answer_lengths, written_.answer_lengths, at) &&
           forget_old(database, oldest_kept(at));
  });
  if (problem) return std::unexpected(error_of("write", path_, *problem));
  written_nodes_ = std::move(nodes);
  written_ = {.contention = state.contention,
              .wishes = state.wishes,
              .answer_lengths = state.answer_lengths};
  return {};
}

std::string StateFile::set_aside() {
  const std::string aside = path_ + ".bad";
  std::error_code ignored;
  fs::rename(path_, aside, ignored);
  for (const char* part : {"-journal", "-wal", "-shm"})
    fs::rename(path_ + part, aside + part, ignored);
  written_nodes_.clear();
  written_ = {};
  return aside;
}

}  // namespace sollol::gateway

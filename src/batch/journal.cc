#include "batch/journal.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

namespace sollol::batch {
namespace {

constexpr int version = 1;

/// A statement that is kept, and left ready for its next use.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Statement& operator=(Statement&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Statement() { sqlite3_finalize(raw_); }

  bool prepare(sqlite3* database, const char* text) {
    return sqlite3_prepare_v3(database, text, -1, SQLITE_PREPARE_PERSISTENT, &raw_, nullptr) ==
           SQLITE_OK;
  }
  void set(int at, std::int64_t value) { sqlite3_bind_int64(raw_, at, value); }
  void set(int at, double value) { sqlite3_bind_double(raw_, at, value); }
  void set(int at, const std::string& value) {
    sqlite3_bind_text64(raw_, at, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  int step() { return sqlite3_step(raw_); }
  void reset() { sqlite3_reset(raw_); }
  std::int64_t number(int at) { return sqlite3_column_int64(raw_, at); }
  double real(int at) { return sqlite3_column_double(raw_, at); }
  std::string text(int at) {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(raw_, at));
    return bytes == nullptr
               ? std::string()
               : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(raw_, at)));
  }

 private:
  sqlite3_stmt* raw_ = nullptr;
};

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};

}  // namespace

struct Journal::Impl {
  std::string path;
  std::unique_ptr<sqlite3, CloseDatabase> database;
  Statement put, list, line, drop;

  bool run(const char* text) {
    return sqlite3_exec(database.get(), text, nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  Error problem() const {
    const char* what = sqlite3_errmsg(database.get());
    switch (sqlite3_errcode(database.get())) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return {ErrorKind::overloaded, Origin::client, Retry::later,
                fmt::format("{}: another batch is at work on this output; wait for it, or name "
                            "another output",
                            path)};
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        return bad_input(
            fmt::format("{}: this is no journal, or it is damaged ({}); move it away to begin anew",
                        path, what));
      default:
        return {ErrorKind::forbidden, Origin::client, Retry::never,
                fmt::format("{}: cannot be written: {}", path, what)};
    }
  }
  Result<void> prepare();
  /// Runs `work` as one transaction.
  template <class Work>
  Result<void> together(Work&& work) {
    if (!run("BEGIN IMMEDIATE")) return std::unexpected(problem());
    if (work() && run("COMMIT")) return {};
    const Error error = problem();
    run("ROLLBACK");
    return std::unexpected(error);
  }
};

Result<void> Journal::Impl::prepare() {
  // One process has the file until it ends, so that no two batches write one output.
  if (!run("PRAGMA locking_mode = EXCLUSIVE") || !run("PRAGMA journal_mode = WAL") ||
      !run("PRAGMA synchronous = NORMAL") || !run("BEGIN IMMEDIATE") || !run("COMMIT"))
    return std::unexpected(problem());
  Statement found;
  if (!found.prepare(database.get(), "PRAGMA user_version") || found.step() != SQLITE_ROW)
    return std::unexpected(problem());
  const std::int64_t has = found.number(0);
  if (has > version) {
    return std::unexpected(bad_input(
        fmt::format("{}: written by a newer sollol; use that, or move the file away", path)));
  }
  found.reset();
  if (has == 0 &&
      (!run("CREATE TABLE IF NOT EXISTS result (id INTEGER PRIMARY KEY AUTOINCREMENT, line INTEGER "
            "NOT NULL, part INTEGER NOT NULL, print INTEGER NOT NULL, status INTEGER NOT NULL, "
            "node TEXT NOT NULL, took_s REAL NOT NULL, attempts INTEGER NOT NULL, body TEXT NOT "
            "NULL, UNIQUE (line, part))") ||
       !run("PRAGMA user_version = 1")))
    return std::unexpected(problem());
  if (!put.prepare(database.get(),
                   "INSERT OR REPLACE INTO result (line, part, print, status, node, took_s, "
                   "attempts, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)") ||
      !list.prepare(database.get(), "SELECT line, part, print, status FROM result ORDER BY id") ||
      !line.prepare(database.get(),
                    "SELECT status, node, took_s, attempts, body FROM result WHERE line = ? ORDER "
                    "BY part") ||
      !drop.prepare(database.get(), "DELETE FROM result WHERE line = ? AND part = ?"))
    return std::unexpected(problem());
  return {};
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::Journal(Journal&&) noexcept = default;
Journal& Journal::operator=(Journal&&) noexcept = default;
Journal::~Journal() = default;

Result<Journal> Journal::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  sqlite3* raw = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  impl->database.reset(raw);
  if (opened != SQLITE_OK) return std::unexpected(impl->problem());
  if (const auto ready = impl->prepare(); !ready) return std::unexpected(ready.error());
  return Journal(std::move(impl));
}

Result<void> Journal::keep(const std::vector<Entry>& entries) {
  return impl_->together([&] {
    Statement& put = impl_->put;
    for (const auto& [key, result] : entries) {
      put.set(1, static_cast<std::int64_t>(key.line));
      put.set(2, std::int64_t{key.part});
      put.set(3, static_cast<std::int64_t>(key.print));
      put.set(4, std::int64_t{result.status});
      put.set(5, result.node);
      put.set(6, result.took_s);
      put.set(7, std::int64_t{result.attempts});
      put.set(8, result.body);
      const int done = put.step();
      put.reset();
      if (done != SQLITE_DONE) return false;
    }
    return true;
  });
}

Result<void> Journal::for_each(const std::function<void(const Key&, int status)>& take) {
  Statement& list = impl_->list;
  int state = list.step();
  for (; state == SQLITE_ROW; state = list.step()) {
    take({.line = static_cast<std::uint64_t>(list.number(0)),
          .part = static_cast<std::uint32_t>(list.number(1)),
          .print = static_cast<std::uint64_t>(list.number(2))},
         static_cast<int>(list.number(3)));
  }
  list.reset();
  if (state != SQLITE_DONE) return std::unexpected(impl_->problem());
  return {};
}

Result<std::vector<TaskResult>> Journal::of_line(std::uint64_t number) {
  Statement& line = impl_->line;
  line.set(1, static_cast<std::int64_t>(number));
  std::vector<TaskResult> parts;
  int state = line.step();
  for (; state == SQLITE_ROW; state = line.step()) {
    parts.push_back({.status = static_cast<int>(line.number(0)),
                     .node = line.text(1),
                     .body = line.text(4),
                     .took_s = line.real(2),
                     .attempts = static_cast<unsigned>(line.number(3))});
  }
  line.reset();
  if (state != SQLITE_DONE) return std::unexpected(impl_->problem());
  return parts;
}

Result<void> Journal::forget(const std::vector<Key>& keys) {
  return impl_->together([&] {
    Statement& drop = impl_->drop;
    for (const Key& key : keys) {
      drop.set(1, static_cast<std::int64_t>(key.line));
      drop.set(2, std::int64_t{key.part});
      const int done = drop.step();
      drop.reset();
      if (done != SQLITE_DONE) return false;
    }
    return true;
  });
}

}  // namespace sollol::batch

#include "batch/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/sqlite.h"

namespace sollol::batch {
namespace {

constexpr int version = 1;

}  // namespace

struct Journal::Impl {
  std::string path;
  storage::Database database{path};
  storage::Statement put, list, line, drop;

  Error error(const storage::Problem& problem) const {
    switch (problem.kind) {
      case storage::Problem::Kind::busy:
        return {ErrorKind::overloaded, Origin::client, Retry::later,
                fmt::format("{}: another batch is at work on this output; wait for it, or name "
                            "another output",
                            path)};
      case storage::Problem::Kind::damaged:
        return bad_input(
            fmt::format("{}: this is no journal, or it is damaged ({}); move it away to begin anew",
                        path, problem.text));
      case storage::Problem::Kind::failed:
        break;
    }
    return {ErrorKind::forbidden, Origin::client, Retry::never,
            fmt::format("{}: cannot be written: {}", path, problem.text)};
  }
  std::unexpected<Error> failed() const { return std::unexpected(error(database.problem())); }
  Result<void> prepare();
  template <class Work>
  Result<void> together(Work&& work) {
    const auto problem = database.together(std::forward<Work>(work));
    if (problem) return std::unexpected(error(*problem));
    return {};
  }
};

Result<void> Journal::Impl::prepare() {
  // One process has the file until it ends, so that no two batches write one output.
  for (const char* text : {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
                           "PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE", "COMMIT"}) {
    if (!database.run(text)) return failed();
  }
  const auto has = database.number("PRAGMA user_version");
  if (!has) return failed();
  if (*has > version) {
    return std::unexpected(bad_input(
        fmt::format("{}: written by a newer sollol; use that, or move the file away", path)));
  }
  if (*has == 0 &&
      (!database.run(
           "CREATE TABLE IF NOT EXISTS result (id INTEGER PRIMARY KEY AUTOINCREMENT, line INTEGER "
           "NOT NULL, part INTEGER NOT NULL, print INTEGER NOT NULL, status INTEGER NOT NULL, "
           "node TEXT NOT NULL, took_s REAL NOT NULL, attempts INTEGER NOT NULL, body TEXT NOT "
           "NULL, UNIQUE (line, part))") ||
       !database.run("PRAGMA user_version = 1")))
    return failed();
  put = database.prepare(
      "INSERT OR REPLACE INTO result (line, part, print, status, node, took_s, attempts, body) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  list = database.prepare("SELECT line, part, print, status FROM result ORDER BY id");
  line = database.prepare(
      "SELECT status, node, took_s, attempts, body FROM result WHERE line = ? ORDER BY part");
  drop = database.prepare("DELETE FROM result WHERE line = ? AND part = ?");
  for (const storage::Statement* statement : {&put, &list, &line, &drop}) {
    if (!statement->usable()) return failed();
  }
  return {};
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::Journal(Journal&&) noexcept = default;
Journal& Journal::operator=(Journal&&) noexcept = default;
Journal::~Journal() = default;

Result<Journal> Journal::open(const std::string& path) {
  auto impl = std::make_unique<Impl>(path);
  if (!impl->database.is_open()) return impl->failed();
  if (const auto ready = impl->prepare(); !ready) return std::unexpected(ready.error());
  return Journal(std::move(impl));
}

Result<void> Journal::keep(const std::vector<Entry>& entries) {
  return impl_->together([&] {
    return std::ranges::all_of(entries, [&put = impl_->put](const Entry& entry) {
      put.set(1, static_cast<std::int64_t>(entry.key.line));
      put.set(2, std::int64_t{entry.key.part});
      put.set(3, static_cast<std::int64_t>(entry.key.print));
      put.set(4, std::int64_t{entry.result.status});
      put.set(5, entry.result.node);
      put.set(6, entry.result.took_s);
      put.set(7, std::int64_t{entry.result.attempts});
      put.set(8, entry.result.body);
      return put.run();
    });
  });
}

Result<void> Journal::for_each(const std::function<void(const Key&, int status)>& take) {
  storage::Statement& list = impl_->list;
  while (list.row()) {
    take({.line = static_cast<std::uint64_t>(list.number(0)),
          .part = static_cast<std::uint32_t>(list.number(1)),
          .print = static_cast<std::uint64_t>(list.number(2))},
         static_cast<int>(list.number(3)));
  }
  if (!list.ended()) return impl_->failed();
  return {};
}

Result<std::vector<TaskResult>> Journal::of_line(std::uint64_t number) {
  storage::Statement& line = impl_->line;
  line.set(1, static_cast<std::int64_t>(number));
  std::vector<TaskResult> parts;
  while (line.row()) {
    parts.push_back({.status = static_cast<int>(line.number(0)),
                     .node = line.text(1),
                     .body = line.text(4),
                     .took_s = line.real(2),
                     .attempts = static_cast<unsigned>(line.number(3))});
  }
  if (!line.ended()) return impl_->failed();
  return parts;
}

Result<void> Journal::forget(const std::vector<Key>& keys) {
  return impl_->together([&] {
    return std::ranges::all_of(keys, [&drop = impl_->drop](const Key& key) {
      drop.set(1, static_cast<std::int64_t>(key.line));
      drop.set(2, std::int64_t{key.part});
      return drop.run();
    });
  });
}

}  // namespace sollol::batch

#include "storage/sqlite.h"

#include <sqlite3.h>

namespace sollol::storage {

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void Statement::set(int at, std::int64_t value) { sqlite3_bind_int64(raw_.get(), at, value); }
void Statement::set(int at, double value) { sqlite3_bind_double(raw_.get(), at, value); }
void Statement::set(int at, const std::string& value) {
  sqlite3_bind_text64(raw_.get(), at, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

bool Statement::row() {
  const int state = sqlite3_step(raw_.get());
  if (state == SQLITE_ROW) return true;
  ended_ = state == SQLITE_DONE;
  sqlite3_reset(raw_.get());
  return false;
}

bool Statement::run() {
  while (row()) {
  }
  return ended_;
}

std::int64_t Statement::number(int at) const { return sqlite3_column_int64(raw_.get(), at); }
double Statement::real(int at) const { return sqlite3_column_double(raw_.get(), at); }
std::string Statement::text(int at) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(raw_.get(), at));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(raw_.get(), at))};
}

void Database::Close::operator()(sqlite3* database) const { sqlite3_close(database); }

Database::Database(const std::string& path) {
  sqlite3* raw = nullptr;
  open_ = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                          nullptr) == SQLITE_OK;
  raw_.reset(raw);
}

Problem Database::problem() const {
  if (unusable_ && sqlite3_errcode(raw_.get()) == SQLITE_OK) return *unusable_;
  Problem out{.kind = Problem::Kind::failed, .text = sqlite3_errmsg(raw_.get())};
  switch (sqlite3_errcode(raw_.get())) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      out.kind = Problem::Kind::busy;
      break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:  // the text asks for what a sound file has
      out.kind = Problem::Kind::damaged;
      break;
    default:
      break;
  }
  return out;
}

bool Database::run(const char* text) {
  return sqlite3_exec(raw_.get(), text, nullptr, nullptr, nullptr) == SQLITE_OK;
}

Statement Database::prepare(const char* text) {
  Statement out;
  sqlite3_stmt* raw = nullptr;
  const int done =
      sqlite3_prepare_v3(raw_.get(), text, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (done != SQLITE_OK) unusable_ = problem();
  out.raw_.reset(raw);
  return out;
}

std::optional<std::int64_t> Database::number(const char* query) {
  Statement asked = prepare(query);
  if (!asked.row()) return std::nullopt;
  return asked.number(0);
}

}  // namespace sollol::storage

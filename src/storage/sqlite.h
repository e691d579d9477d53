#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace sollol::storage {

/// Why something was not done.
struct Problem {
  enum class Kind : std::uint8_t {
    busy,     // another process has the file
    damaged,  // it is no database, or not what was written
    failed,   // no room, no permission, or the like
  };
  Kind kind = Kind::failed;
  std::string text;  // SQLite's words
};

/// A prepared text. Parameters and columns have SQLite's numbers: from 1, and from 0.
class Statement {
 public:
  Statement() = default;

  /// Whether its text was right for the file.
  bool usable() const { return raw_ != nullptr; }
  void set(int at, std::int64_t value);
  void set(int at, double value);
  void set(int at, const std::string& value);
  /// The next row, if there is one; without one, ready for its next use.
  bool row();
  /// To its end. False: it failed, and the database says why.
  bool run();
  /// After `row` gave none: whether that was the end, and no failure.
  bool ended() const { return ended_; }

  std::int64_t number(int at) const;
  double real(int at) const;
  std::string text(int at) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> raw_;
  bool ended_ = false;
};

/// A SQLite file, made where there is none. One thread at a time.
class Database {
 public:
  explicit Database(const std::string& path);

  bool is_open() const { return open_; }
  /// Of the call that failed last.
  Problem problem() const;

  bool run(const char* text);
  /// Nothing can be run of one whose text is wrong for the file.
  Statement prepare(const char* text);
  /// The only value of the only row.
  std::optional<std::int64_t> number(const char* query);

  /// Runs `work`, which says whether it went well, as one transaction: all of it or nothing.
  template <class Work>
  std::optional<Problem> together(Work&& work) {
    if (!run("BEGIN IMMEDIATE")) return problem();
    if (work() && run("COMMIT")) return std::nullopt;
    const Problem why = problem();
    run("ROLLBACK");
    return why;
  }

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> raw_;
  bool open_ = false;
  std::optional<Problem> unusable_;  // of the text that could not be prepared
};

}  // namespace sollol::storage

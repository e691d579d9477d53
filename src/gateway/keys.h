#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/string_hash.h"
#include "base/time.h"
#include "cluster/wait_queue.h"

namespace sollol::gateway {

/// One API key as the keys file has it. The token itself is nowhere: it is shown once, when the key
/// is made.
///
/// A token is `sk-sollol-ID-SECRET`: the id finds the record, the secret is 32 random bytes.
/// Against 256 bits of chance nobody can search, so one salted SHA-256 is enough, where a password
/// would need a slow hash; and it is cheap on the path of a request.
struct KeyRecord {
  std::string id;    // 16 hex digits, also in the token
  std::string name;  // for people and the logs
  std::array<std::uint8_t, 16> salt{};
  std::array<std::uint8_t, 32> hash{};  // SHA-256 of salt and token
  std::vector<std::string> models;      // names, `*` stands for any text; empty: all
  cluster::Urgency urgency = cluster::Urgency::normal;  // the most urgent class it may ask for
  std::uint32_t rate_per_minute = 0;                    // 0: no limit
  std::uint32_t concurrency = 0;                        // requests at once; 0: no limit
  bool manage = false;                                  // may change what models the nodes hold
  bool admin = false;                                   // may do everything

  bool may_manage() const noexcept { return manage || admin; }
};

inline constexpr std::string_view token_prefix = "sk-sollol-";

/// Reads a keys file (TOML). `path` is for messages. Error: bad_input, naming line and field of the
/// first mistake. Bounded by `keys_max`.
Result<std::vector<KeyRecord>> parse_keys(std::string_view text, std::string_view path);
inline constexpr std::size_t keys_max = 10000;

/// The text of a keys file.
std::string keys_text(std::span<const KeyRecord> keys);

/// Gives the record an id, a salt and the hash of a new token, and returns the token.
std::string make_token(KeyRecord& record);

/// Whether the token is the record's. Constant time in the token's bytes.
bool is_token_of(const KeyRecord& record, std::string_view token);

/// Whether `entry`, a model's name or a pattern in which `*` stands for any text, means the model
/// of this key.
bool matches_model(const std::string& entry, std::string_view model_key);

/// Whether the key may use a model, by the text of its ModelKey.
bool may_use(const KeyRecord& record, std::string_view model_key);

/// A rate as a bucket of tokens that holds one minute's worth. Told the time. Any thread.
class RateLimit {
 public:
  explicit RateLimit(std::uint32_t per_minute) : per_minute_(per_minute), tokens_(per_minute) {}
  /// Takes one; else how long until there is one.
  std::optional<Duration> take(TimePoint now);

 private:
  const double per_minute_;
  std::mutex mutex_;  // guards what follows
  double tokens_;
  TimePoint filled_{};
};

/// A key in force: its record, and what its requests use at present, for all workers.
struct Key {
  explicit Key(KeyRecord of) : record(std::move(of)), rate(record.rate_per_minute) {}
  const KeyRecord record;
  RateLimit rate;
  std::atomic<std::uint32_t> in_flight{0};
};

/// One request's place among those its key may have at once, given back however the request ends.
class KeyUse {
 public:
  KeyUse() = default;
  /// Empty where the key has as many as it may.
  static std::optional<KeyUse> begin(std::shared_ptr<Key> key);
  KeyUse(KeyUse&& other) noexcept = default;
  KeyUse& operator=(KeyUse other) noexcept {  // gives back what it held
    std::swap(key_, other.key_);
    return *this;
  }
  ~KeyUse();

 private:
  explicit KeyUse(std::shared_ptr<Key> key) : key_(std::move(key)) {}
  std::shared_ptr<Key> key_;
};

/// The keys in force, by id. Immutable; what requests use lives behind the pointers.
class KeyRing {
 public:
  /// Keys that `before` has unchanged keep what they use.
  KeyRing(std::vector<KeyRecord> records, const KeyRing* before);

  /// The key of a token, or null. A token with an unknown id costs the same as a wrong one.
  std::shared_ptr<Key> find(std::string_view token) const;
  std::shared_ptr<Key> with_id(std::string_view id) const;
  std::size_t size() const noexcept { return keys_.size(); }

 private:
  std::unordered_map<std::string, std::shared_ptr<Key>, StringHash, std::equal_to<>> keys_;
};

/// One worker's memory of tokens that were verified, one for each key at most: the next request
/// with the same token costs a comparison in constant time. One thread.
class KeyCache {
 public:
  std::shared_ptr<Key> find(const std::shared_ptr<const KeyRing>& ring, std::string_view token);

 private:
  struct Verified {
    std::string token;
    std::shared_ptr<Key> key;
  };
  std::shared_ptr<const KeyRing> ring_;  // that all of it is of
  std::unordered_map<std::string, Verified, StringHash, std::equal_to<>> verified_;
};

}  // namespace sollol::gateway

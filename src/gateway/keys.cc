#include "gateway/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <stdexcept>

#include "api/glob.h"
#include "api/model_name.h"

namespace sollol::gateway {

namespace {

constexpr std::size_t id_digits = 16;
constexpr std::size_t secret_bytes = 32;
constexpr std::size_t token_max = 256;  // longer ones are of somebody else

template <std::size_t Size>
std::array<std::uint8_t, Size> random_bytes() {
  std::array<std::uint8_t, Size> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(Size)) != 1)
    throw std::runtime_error("the system gives no random bytes");
  return bytes;
}

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::array<std::uint8_t, 32> salted_hash(const KeyRecord& record, std::string_view token) {
  std::array<std::uint8_t, 16 + token_max> salted;
  std::ranges::copy(record.salt, salted.begin());
  std::ranges::copy(token, salted.begin() + 16);
  std::array<std::uint8_t, 32> hash{};
  EVP_Digest(salted.data(), 16 + token.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

/// `ID` of `sk-sollol-ID-SECRET`; empty when it is no such token.
std::string_view id_of(std::string_view token) {
  if (token.size() > token_max || !token.starts_with(token_prefix)) return {};
  token.remove_prefix(token_prefix.size());
  if (token.size() <= id_digits || token[id_digits] != '-') return {};
  return token.substr(0, id_digits);
}

/// In a time that tells nothing of where they differ.
bool same_token(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  // OpenSSL compares 16 bytes at once and other numbers of them one by one.
  constexpr std::size_t step = 16;
  int different = 0;
  std::size_t at = 0;
  for (; at + step <= a.size(); at += step) different |= CRYPTO_memcmp(&a[at], &b[at], step);
  different |= CRYPTO_memcmp(a.data() + at, b.data() + at, a.size() - at);
  return different == 0;
}

}  // namespace

std::string make_token(KeyRecord& record) {
  record.id = hex(random_bytes<id_digits / 2>());
  record.salt = random_bytes<16>();
  std::string token =
      std::string(token_prefix) + record.id + "-" + hex(random_bytes<secret_bytes>());
  record.hash = salted_hash(record, token);
  return token;
}

bool is_token_of(const KeyRecord& record, std::string_view token) {
  if (token.size() > token_max) return false;
  const auto hash = salted_hash(record, token);
  return CRYPTO_memcmp(hash.data(), record.hash.data(), hash.size()) == 0;
}

bool matches_model(const std::string& entry, std::string_view model_key) {
  if (entry.contains('*')) {
    // A pattern is of the short form that people write: the default host and namespace left out.
    constexpr std::string_view usual = "registry.ollama.ai/library/";
    const std::string_view short_form =
        model_key.starts_with(usual) ? model_key.substr(usual.size()) : model_key;
    return api::glob_matches(entry, short_form) || api::glob_matches(entry, model_key);
  }
  const auto key = api::ModelKey::from(entry);
  return key && key->view() == model_key;
}

bool may_use(const KeyRecord& record, std::string_view model_key) {
  if (record.models.empty()) return true;
  return std::ranges::any_of(
      record.models, [&](const std::string& entry) { return matches_model(entry, model_key); });
}

std::optional<Duration> RateLimit::take(TimePoint now) {
  if (per_minute_ == 0) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  if (filled_ != TimePoint{} && now > filled_)
    tokens_ = std::min(per_minute_, tokens_ + to_seconds(now - filled_) * per_minute_ / 60);
  filled_ = std::max(filled_, now);
  if (tokens_ >= 1) {
    tokens_ -= 1;
    return std::nullopt;
  }
  return from_seconds((1 - tokens_) * 60 / per_minute_);
}

std::optional<KeyUse> KeyUse::begin(std::shared_ptr<Key> key) {
  const std::uint32_t most = key->record.concurrency;
  if (most == 0) return KeyUse();
  if (key->in_flight.fetch_add(1, std::memory_order_relaxed) >= most) {
    key->in_flight.fetch_sub(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return KeyUse(std::move(key));
}

KeyUse::~KeyUse() {
  if (key_) key_->in_flight.fetch_sub(1, std::memory_order_relaxed);
}

KeyRing::KeyRing(std::vector<KeyRecord> records, const KeyRing* before) {
  for (KeyRecord& record : records) {
    const std::shared_ptr<Key> old = before == nullptr ? nullptr : before->with_id(record.id);
    const bool same = old && keys_text({&old->record, 1}) == keys_text({&record, 1});
    std::string id = record.id;
    keys_.emplace(std::move(id), same ? old : std::make_shared<Key>(std::move(record)));
  }
}

std::shared_ptr<Key> KeyRing::with_id(std::string_view id) const {
  const auto it = keys_.find(id);
  return it == keys_.end() ? nullptr : it->second;
}

std::shared_ptr<Key> KeyRing::find(std::string_view token) const {
  static const KeyRecord nobody{};
  const auto it = keys_.find(id_of(token));
  const bool known = it != keys_.end();
  const bool right = is_token_of(known ? it->second->record : nobody, token);
  return known && right ? it->second : nullptr;
}

std::shared_ptr<Key> KeyCache::find(const std::shared_ptr<const KeyRing>& ring,
                                    std::string_view token) {
  if (ring != ring_) {
    verified_.clear();
    ring_ = ring;
  }
  const std::string_view id = id_of(token);
  if (const auto it = verified_.find(id);
      it != verified_.end() && same_token(it->second.token, token))
    return it->second.key;
  std::shared_ptr<Key> key = ring->find(token);
  if (key) verified_.insert_or_assign(std::string(id), Verified{std::string(token), key});
  return key;
}

}  // namespace sollol::gateway

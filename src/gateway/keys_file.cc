// The keys file: TOML, so that people can read it and change a limit by hand.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <set>

#include "gateway/keys.h"

namespace sollol::gateway {

namespace {

constexpr std::int64_t number_max = 1'000'000;
constexpr std::size_t name_max = 128;

/// The first mistake of a file.
class Mistake {
 public:
  explicit Mistake(std::string_view path) : path_(path) {}
  void note(const toml::node& at, std::string_view field, std::string_view expected) {
    if (!error_)
      error_ = bad_input(
          fmt::format("{}, line {}: {}: {}", path_, at.source().begin.line, field, expected));
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::string_view path_;
  std::optional<Error> error_;
};

template <std::size_t Size>
bool read_hex(std::string_view text, std::array<std::uint8_t, Size>& out) {
  if (text.size() != 2 * Size) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    out[i / 2] = static_cast<std::uint8_t>(out[i / 2] << 4 | digit);
  }
  return true;
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= name_max && std::ranges::none_of(name, [](char c) {
    return static_cast<unsigned char>(c) < ' ' || c == '"' || c == '\\' || c == 127;
  });
}

bool read_models(const toml::node& value, std::vector<std::string>& models) {
  const toml::array* list = value.as_array();
  if (list == nullptr) return false;
  for (const toml::node& item : *list) {
    const auto text = item.value_exact<std::string>();
    if (!text || !is_plain_name(*text)) return false;
    models.push_back(*text);
  }
  return true;
}

bool read_number(const toml::node& value, std::uint32_t& out) {
  const auto number = value.value_exact<std::int64_t>();
  if (!number || *number < 0 || *number > number_max) return false;
  out = static_cast<std::uint32_t>(*number);
  return true;
}

bool read_flag(const toml::node& value, bool& out) {
  const auto flag = value.value_exact<bool>();
  if (flag) out = *flag;
  return flag.has_value();
}

bool read_priority(std::string_view text, cluster::Urgency& out) {
  if (text != "high" && text != "normal" && text != "low") return false;
  out = text == "high"  ? cluster::Urgency::interactive
        : text == "low" ? cluster::Urgency::batch
                        : cluster::Urgency::normal;
  return true;
}

void read_field(KeyRecord& key, std::string_view field, const toml::node& value, Mistake& mistake) {
  const auto check = [&](bool good, std::string_view expected) {
    if (!good) mistake.note(value, field, fmt::format("expected {}", expected));
  };
  const std::string text = value.value_exact<std::string>().value_or("");
  std::array<std::uint8_t, 8> id{};
  if (field == "id") {
    check(read_hex(text, id), "16 hex digits");
    key.id = text;
  } else if (field == "name") {
    check(is_plain_name(text), "a name without quotes and control characters");
    key.name = text;
  } else if (field == "salt") {
    check(read_hex(text, key.salt), "32 hex digits");
  } else if (field == "hash") {
    check(read_hex(text, key.hash), "64 hex digits");
  } else if (field == "models") {
    check(read_models(value, key.models), "a list of model names");
  } else if (field == "priority") {
    check(read_priority(text, key.urgency), "high, normal or low");
  } else if (field == "rate_per_minute") {
    check(read_number(value, key.rate_per_minute), "a whole number from 0 to 1000000");
  } else if (field == "concurrency") {
    check(read_number(value, key.concurrency), "a whole number from 0 to 1000000");
  } else if (field == "manage") {
    check(read_flag(value, key.manage), "true or false");
  } else if (field == "admin") {
    check(read_flag(value, key.admin), "true or false");
  } else {
    mistake.note(value, field, "unknown field");
  }
}

KeyRecord read_key(const toml::table& table, Mistake& mistake) {
  KeyRecord key;
  for (const auto& [name, value] : table) read_field(key, name.str(), value, mistake);
  for (const char* needed : {"id", "name", "salt", "hash"}) {
    if (!table.contains(needed)) mistake.note(table, needed, "missing");
  }
  if (!key.models.empty() && key.may_manage())
    mistake.note(table, "models", "a key that manages or administers reaches every model");
  return key;
}

}  // namespace

Result<std::vector<KeyRecord>> parse_keys(std::string_view text, std::string_view path) {
  Mistake mistake(path);
  std::vector<KeyRecord> keys;
  std::set<std::string, std::less<>> ids, names;
  try {
    const toml::table file = toml::parse(text);
    for (const auto& [name, value] : file) {
      const toml::array* list = value.as_array();
      if (name.str() != "keys" || list == nullptr) {
        mistake.note(value, name.str(), "expected [[keys]] tables and nothing else");
        continue;
      }
      for (const toml::node& item : *list) {
        const toml::table* table = item.as_table();
        if (table == nullptr || keys.size() == keys_max) {
          mistake.note(item, "keys", fmt::format("expected at most {} tables", keys_max));
          break;
        }
        keys.push_back(read_key(*table, mistake));
        if (!ids.insert(keys.back().id).second) mistake.note(item, "id", "given twice");
        if (!names.insert(keys.back().name).second) mistake.note(item, "name", "given twice");
      }
    }
  } catch (const toml::parse_error& failure) {
    return std::unexpected(bad_input(
        fmt::format("{}, line {}: {}", path, failure.source().begin.line, failure.description())));
  }
  if (mistake.error()) return std::unexpected(*mistake.error());
  return keys;
}

std::string keys_text(std::span<const KeyRecord> keys) {
  std::string text =
      "# API keys of a SOLLOL gateway, kept by `sollol keys`. The tokens are not in here, only\n"
      "# salted hashes of them.\n";
  const auto out = std::back_inserter(text);
  for (const KeyRecord& key : keys) {
    fmt::format_to(out,
                   "\n[[keys]]\nid = \"{}\"\nname = \"{}\"\nsalt = \"{:02x}\"\nhash = \"{:02x}\"\n",
                   key.id, key.name, fmt::join(key.salt, ""), fmt::join(key.hash, ""));
    if (!key.models.empty()) {
      fmt::format_to(out, "models = [\"{}\"]\n", fmt::join(key.models, "\", \""));
    }
    if (key.urgency != cluster::Urgency::normal) {
      fmt::format_to(out, "priority = \"{}\"\n",
                     key.urgency == cluster::Urgency::interactive ? "high" : "low");
    }
    if (key.rate_per_minute > 0) fmt::format_to(out, "rate_per_minute = {}\n", key.rate_per_minute);
    if (key.concurrency > 0) fmt::format_to(out, "concurrency = {}\n", key.concurrency);
    if (key.manage) text += "manage = true\n";
    if (key.admin) text += "admin = true\n";
  }
  return text;
}

}  // namespace sollol::gateway

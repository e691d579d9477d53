#include "api/intent.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "api/ascii.h"
#include "api/json_scan.h"
#include "api/text_hash.h"

namespace sollol::api {
namespace {

namespace sj = simdjson::ondemand;
using sj::json_type;

static_assert(json_padding >= simdjson::SIMDJSON_PADDING);

/// Bodies up to this size are read without allocating; a parser larger than `parser_kept_max` is
/// not kept.
constexpr std::size_t parser_initial = 64 << 10;
constexpr std::size_t parser_kept_max = 4 << 20;

bool is_native(Operation op) { return dialect_of(op) == Dialect::native; }

bool streams_by_default(Operation op) {
  switch (op) {
    case Operation::generate:
    case Operation::chat:
    case Operation::pull:
    case Operation::push:
    case Operation::create:
      return true;
    default:
      return false;
  }
}

bool accepts_name(Operation op) {
  switch (op) {
    case Operation::pull:
    case Operation::push:
    case Operation::create:
    case Operation::remove:
    case Operation::show:
      return true;
    default:
      return false;
  }
}

/// The field that bounds an answer's length, for the dialects that have it at the top level.
std::string_view length_field(Operation op) {
  switch (op) {
    case Operation::chat_completions:
    case Operation::completions:
    case Operation::messages:
      return "max_tokens";
    case Operation::responses:
      return "max_output_tokens";
    default:
      return {};
  }
}

std::int64_t to_integer(double number) {
  constexpr double limit = 9.2e18;
  if (std::isnan(number)) return 0;
  return static_cast<std::int64_t>(std::clamp(number, -limit, limit));
}

/// "0", "0s", "-0m0s": a Go duration of nothing.
bool is_zero_duration(std::string_view text) {
  return text.find_first_of("123456789") == std::string_view::npos && text.contains('0');
}

/// What lies between the quotes of a string value, escapes as written. Does not move the reader.
std::string_view string_text(sj::value& value) {
  auto token = value.raw_json_token();
  while (!token.empty() && token.back() != '"') token.remove_suffix(1);
  return token.size() < 2 ? std::string_view{} : token.substr(1, token.size() - 2);
}

json_type type_of(sj::value& value) {
  json_type type{};
  if (value.type().get(type))
    return json_type::null;  // what is wrong shows when the reader moves on
  return type;
}

bool is_null(sj::value& value) { return type_of(value) == json_type::null; }

/// Whether a value has anything in it: a string or array that is not empty.
bool has_content(sj::value& value) {
  switch (type_of(value)) {
    case json_type::string:
      return !string_text(value).empty();
    case json_type::array: {
      sj::array array;
      bool empty = true;
      return !value.get_array().get(array) && !array.is_empty().get(empty) && !empty;
    }
    default:
      return false;
  }
}

/// Calls `each(element)` for the elements of an array; true when the array was well formed.
template <class Each>
bool for_elements(sj::value& value, Each each) {
  sj::array array;
  if (value.get_array().get(array)) return false;
  for (auto element : array) {
    sj::value inner;
    if (element.get(inner) || !each(inner)) return false;
  }
  return true;
}

/// Calls `each(key, value)` for the fields of an object; the same.
template <class Object, class Each>
bool for_fields(Object&& source, Each each) {
  sj::object object;
  if (source.get_object().get(object)) return false;
  for (auto field : object) {
    std::string_view key;
    if (field.unescaped_key().get(key)) return false;
    sj::value value = field.value();
    if (!each(key, value)) return false;
  }
  return true;
}

/// Text found in a prompt or message: how much, and which.
struct Text {
  std::size_t bytes = 0;
  TextHash hash;
  bool has_images = false;

  void add(std::string_view text) {
    bytes += text.size();
    hash.add(text);
  }
};

/// One scan: collects the fields in any order, then settles the intent.
class Reader {
 public:
  explicit Reader(Operation op) : op_(op), stream_(streams_by_default(op)) {}

  /// False when the body is malformed or a field has a type that no node would accept.
  bool field(std::string_view key, sj::value& value);
  Intent settle() const;

 private:
  bool native_field(std::string_view key, sj::value& value);
  bool text_field(std::string_view key, sj::value& value);
  bool name_into(std::string_view& name, sj::value& value);
  bool flag(sj::value& value, std::optional<bool>& flag);
  bool options(sj::value& value);
  bool option(std::string_view key, sj::value& value);
  bool keep_alive(sj::value& value);
  bool messages(sj::value& value);
  bool message(sj::value& value);
  bool content(sj::value& value, Text& text);
  bool part(sj::value& value, Text& text);
  bool inputs(sj::value& value);

  Operation op_;
  std::optional<bool> stream_;
  std::string_view model_, name_, source_, destination_;
  std::array<std::optional<std::int64_t>, runner_options.size()> runner_{};
  std::optional<std::int64_t> num_predict_;
  std::optional<bool> shift_;
  KeepAlive keep_alive_ = KeepAlive::absent;
  Text prompt_, system_, messages_;
  std::size_t message_count_ = 0, input_count_ = 0;
  std::optional<std::uint64_t> first_user_;  // hash of what a conversation starts with
  bool tools_ = false, images_ = false, format_ = false;
};

bool Reader::field(std::string_view key, sj::value& value) {
  const auto is = [key](std::string_view name) { return equals_any_case(key, name); };
  if (op_ == Operation::copy) {
    if (is("source")) return name_into(source_, value);
    return !is("destination") || name_into(destination_, value);
  }
  if (is("model")) return name_into(model_, value);
  if (is("name") && accepts_name(op_)) return name_into(name_, value);
  if (is("stream")) {
    if (is_null(value)) stream_ = streams_by_default(op_);
    return flag(value, stream_);
  }
  if (is("tools")) tools_ = has_content(value);
  if (is("format") || is("response_format"))
    format_ = has_content(value) || type_of(value) == json_type::object;
  if (const auto length = length_field(op_); !length.empty() && is(length)) {
    double number = 0;
    if (!value.get_double().get(number)) num_predict_ = to_integer(number);
    return true;
  }
  return is_native(op_) ? native_field(key, value) : text_field(key, value);
}

bool Reader::native_field(std::string_view key, sj::value& value) {
  const auto is = [key](std::string_view name) { return equals_any_case(key, name); };
  if (is("options")) return options(value);
  if (is("keep_alive")) return keep_alive(value);
  if (is("shift")) return flag(value, shift_);
  if (is("images") && op_ == Operation::generate) {
    images_ = has_content(value);
    return true;
  }
  return text_field(key, value);
}

/// The fields that hold what the model is to read.
bool Reader::text_field(std::string_view key, sj::value& value) {
  const auto is = [key](std::string_view name) { return equals_any_case(key, name); };
  const auto text = [this, &value](Text& into) {
    into = {};
    return content(value, into);
  };
  switch (op_) {
    case Operation::generate:
    case Operation::completions:
    case Operation::embeddings:
      if (is("prompt")) return text(prompt_);
      return !is("system") || text(system_);
    case Operation::chat:
    case Operation::chat_completions:
    case Operation::messages:
      if (is("messages")) return messages(value);
      return op_ != Operation::messages || !is("system") || text(system_);
    case Operation::responses:
      if (is("instructions")) return text(system_);
      if (!is("input")) return true;
      if (type_of(value) == json_type::array) return messages(value);
      messages_ = {};
      if (!content(value, messages_)) return false;
      message_count_ = messages_.bytes > 0 ? 1 : 0;
      first_user_ = messages_.hash.value();
      return true;
    case Operation::embed:
    case Operation::openai_embeddings:
      return !is("input") || inputs(value);
    default:
      return true;
  }
}

bool Reader::name_into(std::string_view& name, sj::value& value) {
  if (is_null(value)) return true;
  return !value.get_string().get(name);
}

bool Reader::flag(sj::value& value, std::optional<bool>& flag) {
  if (is_null(value)) return true;
  bool given = false;
  if (value.get_bool().get(given)) return false;
  flag = given;
  return true;
}

bool Reader::options(sj::value& value) {
  if (is_null(value)) {
    runner_ = {};
    num_predict_.reset();
    return true;
  }
  return for_fields(value,
                    [this](std::string_view key, sj::value& inner) { return option(key, inner); });
}

/// Ollama compares the names of options exactly, and a null is as good as no option.
bool Reader::option(std::string_view key, sj::value& value) {
  const auto known = std::ranges::find(runner_options, key);
  const bool is_runner_option = known != runner_options.end();
  if (!is_runner_option && key != "num_predict") return true;
  std::optional<std::int64_t> number;
  const auto type = type_of(value);
  double real = 0;
  bool boolean = false;
  if (type == json_type::number && !value.get_double().get(real)) number = to_integer(real);
  if (type == json_type::boolean && !value.get_bool().get(boolean)) number = boolean ? 1 : 0;
  (is_runner_option ? runner_[static_cast<std::size_t>(known - runner_options.begin())]
                    : num_predict_) = number;
  return true;
}

bool Reader::keep_alive(sj::value& value) {
  double number = 0;
  switch (type_of(value)) {
    case json_type::number:
      if (value.get_double().get(number)) return false;
      keep_alive_ = number == 0 ? KeepAlive::unload : KeepAlive::keep;
      return true;
    case json_type::string:
      keep_alive_ = is_zero_duration(string_text(value)) ? KeepAlive::unload : KeepAlive::keep;
      return true;
    default:
      return true;
  }
}

bool Reader::messages(sj::value& value) {
  messages_ = {};
  message_count_ = 0;
  first_user_.reset();
  if (is_null(value)) return true;
  return for_elements(value, [this](sj::value& element) { return message(element); });
}

bool Reader::message(sj::value& value) {
  ++message_count_;
  if (type_of(value) != json_type::object) return true;
  Text text;
  bool is_user = false;
  bool has_role = false;
  const bool whole = for_fields(value, [&](std::string_view key, sj::value& inner) {
    if (equals_any_case(key, "role") && type_of(inner) == json_type::string) {
      has_role = true;
      is_user = equals_any_case(string_text(inner), "user");
    }
    if (equals_any_case(key, "images")) text.has_images |= has_content(inner);
    return !equals_any_case(key, "content") || content(inner, text);
  });
  messages_.bytes += text.bytes;
  messages_.has_images |= text.has_images;
  if (first_user_ || !has_role) return whole;
  messages_.hash.add_number(text.hash.value());
  if (is_user) first_user_ = messages_.hash.value();
  return whole;
}

/// Text, or a list of parts (of OpenAI's or Anthropic's messages) or of texts.
bool Reader::content(sj::value& value, Text& text) {
  switch (type_of(value)) {
    case json_type::string:
      text.add(string_text(value));
      return true;
    case json_type::array:
      return for_elements(value, [&](sj::value& element) {
        if (type_of(element) == json_type::object) return part(element, text);
        if (type_of(element) == json_type::string) text.add(string_text(element));
        return true;
      });
    default:
      return true;
  }
}

bool Reader::part(sj::value& value, Text& text) {
  return for_fields(value, [&text](std::string_view key, sj::value& inner) {
    const bool is_string = type_of(inner) == json_type::string;
    if (is_string && (key == "text" || key == "content")) text.add(string_text(inner));
    if (is_string && key == "type") text.has_images |= string_text(inner).contains("image");
    return true;
  });
}

bool Reader::inputs(sj::value& value) {
  prompt_ = {};
  input_count_ = 0;
  switch (type_of(value)) {
    case json_type::string:
      prompt_.add(string_text(value));
      input_count_ = prompt_.bytes > 0 ? 1 : 0;
      return true;
    case json_type::array:
      return for_elements(value, [this](sj::value& element) {
        ++input_count_;
        if (type_of(element) == json_type::string) prompt_.add(string_text(element));
        return true;
      });
    default:
      return true;
  }
}

Intent Reader::settle() const {
  Intent intent;
  intent.model = op_ == Operation::copy ? source_ : model_.empty() ? name_ : model_;
  intent.has_model = !intent.model.empty();
  intent.destination = destination_;
  intent.stream = stream_.value_or(false);
  if (std::ranges::any_of(runner_, [](const auto& option) { return option.has_value(); })) {
    TextHash hash;
    for (const auto& option : runner_)
      hash.add_number(option ? static_cast<std::uint64_t>(*option) * 2 + 1 : 0);
    intent.runner_key = hash.value();
  }
  intent.num_ctx =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(runner_[0].value_or(0), 0, UINT32_MAX));
  intent.shift = shift_;
  intent.num_predict = num_predict_;
  intent.keep_alive = keep_alive_;
  intent.prompt_bytes = prompt_.bytes + system_.bytes + messages_.bytes;
  intent.inputs = op_ == Operation::embeddings ? (prompt_.bytes > 0 ? 1 : 0) : input_count_;
  switch (op_) {
    case Operation::generate:
    case Operation::embeddings:
      intent.empty_prompt = prompt_.bytes == 0;
      break;
    case Operation::chat:
      intent.empty_prompt = message_count_ == 0;
      break;
    case Operation::embed:
      intent.empty_prompt = input_count_ == 0;
      break;
    default:
      break;
  }
  intent.uses_tools = tools_;
  intent.uses_format = format_;
  intent.uses_images = images_ || messages_.has_images || prompt_.has_images;
  if (first_user_) {
    TextHash hash;
    hash.add_number(system_.hash.value());
    hash.add_number(*first_user_);
    intent.conversation = hash.value();
  }
  return intent;
}

Error not_readable() {
  return bad_input("the request body is not a JSON object; see the node's own message");
}

}  // namespace

struct IntentScanner::Impl {
  std::unique_ptr<sj::parser> parser;
  std::string model;  // of a body read by `rough`

  Result<Intent> rough(std::string_view body, Operation operation);
  void make_room(std::size_t size);
};

IntentScanner::IntentScanner() : impl_(std::make_unique<Impl>()) {}
IntentScanner::~IntentScanner() = default;
IntentScanner::IntentScanner(IntentScanner&&) noexcept = default;
IntentScanner& IntentScanner::operator=(IntentScanner&&) noexcept = default;

Result<Intent> IntentScanner::scan(std::string_view body, Operation operation) {
  impl_->make_room(body.size());
  sj::document document;
  if (impl_->parser->iterate(body.data(), body.size(), body.size() + json_padding).get(document)) {
    return impl_->rough(body, operation);
  }
  Reader reader(operation);
  const auto each = [&reader](std::string_view key, sj::value& value) {
    return reader.field(key, value);
  };
  if (!for_fields(document, each)) return impl_->rough(body, operation);
  return reader.settle();
}

void IntentScanner::Impl::make_room(std::size_t size) {
  if (parser && parser->capacity() > parser_kept_max && size <= parser_kept_max) parser.reset();
  if (!parser) parser = std::make_unique<sj::parser>();
  if (parser->capacity() >= size && parser->capacity() > 0) return;
  // Where this fails for want of memory, iterate() fails too.
  (void)parser->allocate(std::bit_ceil(std::max(size, parser_initial)));
}

/// Ollama's decoder takes bodies that a strict parser refuses: text that is no UTF-8, bytes after
/// the object. What matters most to routing is read from those too; a body that is really broken
/// gets its answer from a node.
Result<Intent> IntentScanner::Impl::rough(std::string_view body, Operation operation) {
  Intent intent;
  intent.stream = streams_by_default(operation);
  intent.prompt_bytes = body.size();
  const std::string_view wanted = operation == Operation::copy ? "source" : "model";
  std::string name;
  model.clear();
  for (JsonScan scan(body); scan.next();) {
    const auto is = [&scan](std::string_view key) { return equals_any_case(scan.key(), key); };
    if (is(wanted)) model = json_string_value(scan.value()).value_or("");
    if (is("name") && accepts_name(operation)) name = json_string_value(scan.value()).value_or("");
    if (is("stream") && scan.value() != "null") intent.stream = scan.value() == "true";
  }
  if (model.empty()) model = name;
  if (model.empty()) return std::unexpected(not_readable());
  intent.model = model;
  intent.has_model = true;
  return intent;
}

}  // namespace sollol::api

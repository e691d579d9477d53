#include "inference_calls.h"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <sstream>

namespace sollol::test {

namespace json = boost::json;
using Api = InferenceCall::Api;
using Kind = InferenceCall::Kind;
using Mode = InferenceCall::Mode;

namespace {

constexpr int tokens = 12;  // of an answer

std::string multipart(const std::string& model) {
  const auto part = [](const std::string& disposition, const std::string& value) {
    return "--edge\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n";
  };
  return part("name=\"file\"; filename=\"a.wav\"", "RIFF....WAVE") + part("name=\"model\"", model) +
         "--edge--\r\n";
}

json::object body_of(Kind kind) {
  const json::array messages = {{{"role", "user"}, {"content", "Say something"}}};
  const json::object options = {{"temperature", 0}, {"num_predict", tokens}};
  switch (kind) {
    case Kind::generate:
      return {{"prompt", "Say something"}, {"options", options}};
    case Kind::raw_generate:
      return {{"prompt", "Say something"}, {"raw", true}, {"options", options}};
    case Kind::chat:
      return {{"messages", messages}, {"options", options}};
    case Kind::embed:
    case Kind::openai_embeddings:
      return {{"input", "Say something"}};
    case Kind::embeddings:
      return {{"prompt", "Say something"}};
    case Kind::completions:
      return {{"prompt", "Say something"}, {"temperature", 0}, {"max_tokens", tokens}};
    case Kind::responses:
      return {{"input", "Say something"}, {"temperature", 0}, {"max_output_tokens", tokens}};
    default:
      return {{"messages", messages}, {"temperature", 0}, {"max_tokens", tokens}};
  }
}

/// The element at a path of names and numbers ("choices.0.delta.content"); null when it is not
/// there.
json::value at(const json::value& value, const std::string& path) {
  const json::value* found = &value;
  std::istringstream names(path);
  for (std::string name; std::getline(names, name, '.');) {
    const auto* array = found->if_array();
    const auto* object = found->if_object();
    if (array != nullptr) {
      found = array->if_contains(std::stoul(name));
    } else {
      found = object != nullptr ? object->if_contains(name) : nullptr;
    }
    if (found == nullptr) return nullptr;
  }
  return *found;
}

std::string text_at(const json::value& value, const std::string& path) {
  const json::value found = at(value, path);
  if (found.is_null()) return {};
  return found.is_string() ? std::string(found.get_string()) : json::serialize(found);
}

/// Where the words stand in a whole answer, and in a record of a stream.
struct Places {
  std::vector<std::string> whole, record;
};
Places places(Kind kind) {
  switch (kind) {
    case Kind::generate:
    case Kind::raw_generate:
      return {{"response", "eval_count", "done_reason"}, {"response", "eval_count", "done_reason"}};
    case Kind::chat:
      return {{"message.content", "eval_count", "done_reason"},
              {"message.content", "eval_count", "done_reason"}};
    case Kind::embed:
      return {{"embeddings"}, {}};
    case Kind::embeddings:
      return {{"embedding"}, {}};
    case Kind::chat_completions:
      return {{"choices.0.message.content", "choices.0.finish_reason"},
              {"choices.0.delta.content", "choices.0.finish_reason"}};
    case Kind::completions:
      return {{"choices.0.text", "choices.0.finish_reason"},
              {"choices.0.text", "choices.0.finish_reason"}};
    case Kind::openai_embeddings:
      return {{"data.0.embedding"}, {}};
    case Kind::responses:
      return {{"output.0.content.0.text"}, {}};  // the record's words: see words_of
    case Kind::transcriptions:
      return {{"text"}, {}};
    case Kind::messages:
      return {{"content.0.text", "stop_reason"}, {"delta.text", "delta.stop_reason"}};
  }
  return {};
}

std::string words_of(const InferenceCall& call, const json::value& record) {
  if (call.kind == Kind::responses && call.streams())
    return text_at(record, "type") == "response.output_text.delta" ? text_at(record, "delta") : "";
  std::string words;
  const Places where = places(call.kind);
  for (const auto& path : call.streams() ? where.record : where.whole)
    words += text_at(record, path);
  return words;
}

/// Empty, or what is wrong with an error's form.
std::string error_problem(Api api, const json::value& error) {
  const bool good =
      api == Api::native ? at(error, "error").is_string()
      : api == Api::openai
          ? at(error, "error.message").is_string() && at(error, "error.type").is_string()
          : text_at(error, "type") == "error" && at(error, "error.type").is_string() &&
                at(error, "error.message").is_string();
  return good ? "" : "not this API's form of an error: " + json::serialize(error);
}

std::optional<json::value> parsed(std::string_view text) {
  boost::system::error_code bad;
  json::value value = json::parse(text, bad);
  if (bad) return std::nullopt;
  return value;
}

/// A stream's records in order; nullopt for one that is not JSON. "[DONE]" becomes a string.
std::vector<std::optional<json::value>> records_of(const InferenceCall& call,
                                                   const std::string& body) {
  std::vector<std::optional<json::value>> records;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with(':') || line.starts_with("event:")) continue;
    std::string_view text = line;
    if (call.api != Api::native) {
      if (!text.starts_with("data: ")) {
        records.push_back(std::nullopt);
        continue;
      }
      text.remove_prefix(6);
    }
    records.push_back(text == "[DONE]" ? json::value("[DONE]") : parsed(text));
  }
  return records;
}

bool ends_stream(const InferenceCall& call, const json::value& record) {
  switch (call.api) {
    case Api::native:
      return at(record, "done") == json::value(true);
    case Api::anthropic:
      return text_at(record, "type") == "message_stop";
    case Api::openai:
      return call.kind == Kind::responses ? text_at(record, "type") == "response.completed" ||
                                                text_at(record, "type") == "response.incomplete"
                                          : record == json::value("[DONE]");
  }
  return false;
}

bool is_error(const json::value& record) {
  const json::value error = at(record, "error");
  const std::string type = text_at(record, "type");
  return (!error.is_null() && type != "response.created") || type == "response.failed";
}

Reading read_stream(const InferenceCall& call, const Answer& answer) {
  Reading reading;
  bool ended = false;
  const json::value* failed = nullptr;
  const auto records = records_of(call, answer.body);
  for (const auto& record : records) {
    if (!record) continue;  // half a record: fine only where an error or a break follows
    if (is_error(*record)) failed = &*record;
    if (ended && failed == nullptr) reading.problem = "something follows the end of the stream";
    ended = ended || ends_stream(call, *record);
    reading.words += words_of(call, *record);
  }
  const bool garbled = std::ranges::any_of(records, [](const auto& record) { return !record; });
  if (!reading.problem.empty()) return reading;
  if (!answer.complete) {
    reading.seen = ended ? Seen::wrong : Seen::cut;
    reading.problem = ended ? "the stream's end came, the body's end did not" : "";
  } else if (failed != nullptr) {
    const bool told = text_at(*failed, "type") == "response.failed";
    reading.problem = told ? "" : error_problem(call.api, *failed);
    reading.seen = reading.problem.empty() ? Seen::error_record : Seen::wrong;
  } else if (garbled) {
    reading.problem = "a record is no JSON, and no error follows";
  } else if (!ended) {
    reading.problem = "the body ends well, the stream does not";
  } else {
    reading.seen = Seen::whole;
  }
  return reading;
}

}  // namespace

std::string_view text(Seen seen) {
  constexpr std::string_view names[] = {"whole", "error answer", "error record",
                                        "cut",   "silence",      "wrong"};
  return names[static_cast<std::size_t>(seen)];
}

bool InferenceCall::has_tokens() const {
  return kind != Kind::embed && kind != Kind::embeddings && kind != Kind::openai_embeddings;
}

bool InferenceCall::can_continue() const {
  return streams() && (kind == Kind::raw_generate || kind == Kind::chat ||
                       kind == Kind::chat_completions || kind == Kind::messages);
}

std::string InferenceCall::request(const std::string& model) const {
  if (kind == Kind::transcriptions)
    return request_text("POST", path, multipart(model),
                        "Content-Type: multipart/form-data; boundary=edge\r\n");
  json::object body = body_of(kind);
  body["model"] = model;
  if (has_tokens()) body["stream"] = streams();
  return request_text("POST", path, json::serialize(body), "Content-Type: application/json\r\n");
}

std::vector<InferenceCall> inference_calls() {
  struct Row {
    const char* name;
    const char* path;
    Kind kind;
    Api api;
    bool can_stream;
  };
  constexpr Row rows[] = {
      {"generate", "/api/generate", Kind::generate, Api::native, true},
      {"raw_generate", "/api/generate", Kind::raw_generate, Api::native, true},
      {"chat", "/api/chat", Kind::chat, Api::native, true},
      {"embed", "/api/embed", Kind::embed, Api::native, false},
      {"embeddings", "/api/embeddings", Kind::embeddings, Api::native, false},
      {"chat_completions", "/v1/chat/completions", Kind::chat_completions, Api::openai, true},
      {"completions", "/v1/completions", Kind::completions, Api::openai, true},
      {"openai_embeddings", "/v1/embeddings", Kind::openai_embeddings, Api::openai, false},
      {"responses", "/v1/responses", Kind::responses, Api::openai, true},
      {"transcriptions", "/v1/audio/transcriptions", Kind::transcriptions, Api::openai, false},
      {"messages", "/v1/messages", Kind::messages, Api::anthropic, true},
  };
  std::vector<InferenceCall> calls;
  for (const Row& row : rows) {
    calls.push_back({std::string(row.name) + "_whole", row.path, row.kind, row.api, Mode::whole});
    if (row.can_stream)
      calls.push_back(
          {std::string(row.name) + "_stream", row.path, row.kind, row.api, Mode::stream});
  }
  return calls;
}

Reading read_answer(const InferenceCall& call, const Answer& answer) {
  Reading reading;
  if (answer.status == 0) {
    reading.problem = "the connection ended without an answer";
    return reading;
  }
  if (answer.status == 200 && call.streams()) return read_stream(call, answer);
  if (!answer.complete) {
    reading.seen = Seen::cut;
    return reading;
  }
  const auto body = parsed(answer.body);
  if (!body) {
    reading.problem = "status " + std::to_string(answer.status) + " and no JSON: " + answer.body;
    return reading;
  }
  if (answer.status == 200) {
    reading.words = words_of(call, *body);
    reading.seen = Seen::whole;
    return reading;
  }
  reading.problem = error_problem(call.api, *body);
  reading.seen = reading.problem.empty() ? Seen::error_answer : Seen::wrong;
  return reading;
}

}  // namespace sollol::test

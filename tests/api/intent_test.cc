#include "api/intent.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace sollol::api {
namespace {

using Op = Operation;

/// A body with the padding that the scanner asks for; what it holds must not matter.
class Body {
 public:
  explicit Body(std::string_view text, char filler = '"') : text_(text), size_(text.size()) {
    text_.append(json_padding, filler);
  }
  std::string_view view() const { return std::string_view(text_).substr(0, size_); }

 private:
  std::string text_;
  std::size_t size_;
};

/// Scans one body; the scanner is kept alive because the intent may point into it.
struct Scanned {
  Body body;
  IntentScanner scanner;
  Result<Intent> result;
  Scanned(std::string_view text, Op op) : body(text), result(scanner.scan(body.view(), op)) {}
  const Intent* operator->() const { return &result.value(); }
};

TEST(Intent, ReadsAChat) {
  const Scanned got(R"({"model":"Llama3.2:3b","messages":[{"role":"system","content":"be brief"},
      {"role":"user","content":"hi \"you\"","images":["aGk="]}],"tools":[{"type":"function"}],"stream":false,
      "options":{"num_ctx":8192,"num_predict":50,"temperature":0.1},"keep_alive":"5m","shift":false})",
                    Op::chat);
  EXPECT_EQ(got->model, "Llama3.2:3b");
  EXPECT_TRUE(got->has_model);
  EXPECT_FALSE(got->stream);
  EXPECT_EQ(got->num_ctx, 8192u);
  EXPECT_NE(got->runner_key, 0u);
  EXPECT_EQ(got->num_predict, 50);
  EXPECT_EQ(got->keep_alive, KeepAlive::keep);
  EXPECT_EQ(got->shift, false);
  EXPECT_EQ(got->prompt_bytes, 8u + 10u);
  EXPECT_FALSE(got->empty_prompt);
  EXPECT_TRUE(got->uses_tools);
  EXPECT_TRUE(got->uses_images);
  EXPECT_NE(got->conversation, 0u);
}

TEST(Intent, ReadsAGenerate) {
  const Scanned got(R"({"model":"m","prompt":"why?","system":"s","images":["aGk="]})",
                    Op::generate);
  EXPECT_TRUE(got->stream);
  EXPECT_EQ(got->prompt_bytes, 5u);
  EXPECT_TRUE(got->uses_images);
  EXPECT_FALSE(got->uses_tools);
  EXPECT_EQ(got->runner_key, 0u);
  EXPECT_EQ(got->num_ctx, 0u);
  EXPECT_EQ(got->num_predict, std::nullopt);
  EXPECT_EQ(got->keep_alive, KeepAlive::absent);
  EXPECT_EQ(got->conversation, 0u);
}

struct StreamCase {
  Op operation;
  const char* body;
  bool stream;
};

TEST(Intent, StreamFollowsTheBodyElseTheRoute) {
  const StreamCase table[] = {
      {Op::generate, R"({"model":"m"})", true},
      {Op::chat, R"({"model":"m"})", true},
      {Op::pull, R"({"model":"m"})", true},
      {Op::create, R"({"model":"m"})", true},
      {Op::embed, R"({"model":"m"})", false},
      {Op::chat_completions, R"({"model":"m"})", false},
      {Op::messages, R"({"model":"m"})", false},
      {Op::responses, R"({"model":"m","stream":true})", true},
      {Op::chat, R"({"model":"m","stream":false})", false},
      {Op::chat, R"({"model":"m","stream":null})", true},
      {Op::chat, R"({"model":"m","stream":false,"stream":null})", true},
      {Op::chat, R"({"model":"m","stream":null,"stream":false})", false},
      {Op::chat, R"({"model":"m","STREAM":false})", false},
      {Op::chat, R"({"model":"m","options":{"stream":false}})", true},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.body);
    const Scanned got(row.body, row.operation);
    ASSERT_TRUE(got.result);
    EXPECT_EQ(got->stream, row.stream);
  }
}

struct ModelCase {
  Op operation;
  const char* body;
  const char* model;
};

TEST(Intent, ModelFollowsGosRules) {
  const ModelCase table[] = {
      {Op::chat, R"({"model":"a"})", "a"},
      {Op::chat, R"({"MODEL":"a"})", "a"},
      {Op::chat, R"({"mod\u0065l":"\u0061b"})", "ab"},
      {Op::chat, R"({"model":"a","Model":"b"})", "b"},
      {Op::chat, R"({"model":"a","model":null})", "a"},
      {Op::chat, R"({"model":""})", ""},
      {Op::chat, R"({})", ""},
      {Op::chat, R"({"name":"a"})", ""},
      {Op::chat, R"({"options":{"model":"x"},"messages":[{"model":"y"}]})", ""},
      {Op::pull, R"({"name":"a"})", "a"},
      {Op::push, R"({"name":"a","model":"b"})", "b"},
      {Op::remove, R"({"model":"","name":"a"})", "a"},
      {Op::show, R"({"name":"a"})", "a"},
      {Op::create, R"({"name":"a"})", "a"},
      {Op::copy, R"({"source":"a","destination":"b","model":"c"})", "a"},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.body);
    const Scanned got(row.body, row.operation);
    ASSERT_TRUE(got.result);
    EXPECT_EQ(got->model, row.model);
    EXPECT_EQ(got->has_model, *row.model != '\0');
  }
  EXPECT_EQ(Scanned(R"({"source":"a","destination":"b"})", Op::copy)->destination, "b");
}

TEST(Intent, RunnerOptionsHaveOneKeyHoweverTheyAreWritten) {
  const auto key = [](std::string_view options) {
    return Scanned("{\"model\":\"m\",\"options\":" + std::string(options) + "}", Op::chat)
        ->runner_key;
  };
  const auto base = key(R"({"num_ctx":4096,"num_gpu":1})");
  EXPECT_NE(base, 0u);
  EXPECT_EQ(key(R"({"num_gpu":1,"num_ctx":4096})"), base);
  EXPECT_EQ(key(R"({"num_ctx":4.096e3, "num_gpu" : 1.0,"temperature":2})"), base);
  EXPECT_EQ(key(R"({"num_ctx":1,"num_ctx":4096,"num_gpu":1})"), base);
  EXPECT_EQ(key(R"({"num_ctx":4096,"num_gpu":1,"num_batch":null})"), base);
  EXPECT_NE(key(R"({"num_ctx":4096})"), base);
  EXPECT_NE(key(R"({"num_ctx":1,"num_gpu":4096})"), base);
  EXPECT_NE(key(R"({"num_ctx":4096,"num_gpu":-1})"), base);
  EXPECT_NE(key(R"({"num_ctx":4096,"num_gpu":1,"use_mmap":false})"), base);
  EXPECT_EQ(key(R"({"temperature":1,"NUM_CTX":4096,"seed":7})"), 0u);
  EXPECT_EQ(key("{}"), 0u);
  EXPECT_EQ(key("null"), 0u);
}

TEST(Intent, OptionsOfEqualNameMerge) {
  const Scanned merged(R"({"options":{"num_ctx":2048},"options":{"num_predict":9}})", Op::chat);
  EXPECT_EQ(merged->num_ctx, 2048u);
  EXPECT_EQ(merged->num_predict, 9);
  EXPECT_EQ(Scanned(R"({"options":{"num_ctx":2048},"options":null})", Op::chat)->num_ctx, 0u);
}

TEST(Intent, OpenAiRoutesIgnoreOllamasFields) {
  const Scanned got(
      R"({"model":"m","options":{"num_ctx":1},"keep_alive":0,"max_tokens":12,"messages":[]})",
      Op::chat_completions);
  EXPECT_EQ(got->runner_key, 0u);
  EXPECT_EQ(got->keep_alive, KeepAlive::absent);
  EXPECT_EQ(got->num_predict, 12);
  EXPECT_FALSE(got->empty_prompt);
}

TEST(Intent, AnswerLengthHasADialectsOwnField) {
  EXPECT_EQ(Scanned(R"({"max_tokens":5})", Op::messages)->num_predict, 5);
  EXPECT_EQ(Scanned(R"({"max_output_tokens":6})", Op::responses)->num_predict, 6);
  EXPECT_EQ(Scanned(R"({"max_tokens":5})", Op::chat)->num_predict, std::nullopt);
  EXPECT_EQ(Scanned(R"({"max_completion_tokens":5})", Op::chat_completions)->num_predict,
            std::nullopt);
  EXPECT_EQ(Scanned(R"({"options":{"num_predict":-1}})", Op::generate)->num_predict, -1);
}

TEST(Intent, KeepAliveOfNothingUnloads) {
  const auto of = [](std::string_view value) {
    return Scanned("{\"keep_alive\":" + std::string(value) + "}", Op::generate)->keep_alive;
  };
  for (const auto* value : {"0", "0.0", "\"0\"", "\"0s\"", "\"0h0m\"", "-0"})
    EXPECT_EQ(of(value), KeepAlive::unload) << value;
  for (const auto* value : {"1", "-1", "\"5m\"", "\"-1m\"", "\"1h0m\"", "300"})
    EXPECT_EQ(of(value), KeepAlive::keep) << value;
  EXPECT_EQ(of("null"), KeepAlive::absent);
}

TEST(Intent, EmptyPromptIsAPreload) {
  const auto empty = [](std::string_view body, Op op) { return Scanned(body, op)->empty_prompt; };
  EXPECT_TRUE(empty(R"({"model":"m"})", Op::generate));
  EXPECT_TRUE(empty(R"({"model":"m","prompt":""})", Op::generate));
  EXPECT_TRUE(empty(R"({"model":"m","prompt":"a","prompt":""})", Op::generate));
  EXPECT_FALSE(empty(R"({"model":"m","prompt":" "})", Op::generate));
  EXPECT_TRUE(empty(R"({"model":"m","messages":[]})", Op::chat));
  EXPECT_TRUE(empty(R"({"model":"m","messages":null})", Op::chat));
  EXPECT_FALSE(empty(R"({"model":"m","messages":[{}]})", Op::chat));
  EXPECT_TRUE(empty(R"({"model":"m","input":""})", Op::embed));
  EXPECT_TRUE(empty(R"({"model":"m","input":[]})", Op::embed));
  EXPECT_FALSE(empty(R"({"model":"m","input":[""]})", Op::embed));
  EXPECT_TRUE(empty(R"({"model":"m"})", Op::embeddings));
}

TEST(Intent, CountsEmbeddingInputs) {
  const Scanned many(R"({"input":["abc","de",""]})", Op::embed);
  EXPECT_EQ(many->inputs, 3u);
  EXPECT_EQ(many->prompt_bytes, 5u);
  EXPECT_EQ(Scanned(R"({"input":"abc"})", Op::openai_embeddings)->inputs, 1u);
  EXPECT_EQ(Scanned(R"({"prompt":"abc"})", Op::embeddings)->inputs, 1u);
  EXPECT_EQ(Scanned(R"({"input":[1,2]})", Op::embed)->inputs, 2u);
}

TEST(Intent, ReadsMessagesMadeOfParts) {
  const Scanned openai(
      R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"what"},
      {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]})",
      Op::chat_completions);
  EXPECT_TRUE(openai->uses_images);
  EXPECT_EQ(openai->prompt_bytes, 4u);
  const Scanned anthropic(R"({"model":"m","system":[{"type":"text","text":"sys"}],"max_tokens":1,
      "messages":[{"role":"user","content":[{"type":"tool_result","content":"ok"}]}]})",
                          Op::messages);
  EXPECT_FALSE(anthropic->uses_images);
  EXPECT_EQ(anthropic->prompt_bytes, 5u);
  const Scanned responses(R"({"model":"m","instructions":"abc","input":[{"role":"user","content":[
      {"type":"input_text","text":"de"},{"type":"input_image","image_url":"data:"}]}],"tools":[]})",
                          Op::responses);
  EXPECT_TRUE(responses->uses_images);
  EXPECT_FALSE(responses->uses_tools);
  EXPECT_EQ(responses->prompt_bytes, 5u);
  EXPECT_NE(responses->conversation, 0u);
  EXPECT_NE(Scanned(R"({"input":"hello"})", Op::responses)->conversation, 0u);
}

TEST(Intent, AConversationKeepsItsHashWhileItGrows) {
  const auto hash = [](std::string_view messages) {
    return Scanned("{\"messages\":[" + std::string(messages) + "]}", Op::chat)->conversation;
  };
  const std::string system = R"({"role":"system","content":"s"},)";
  const std::string hi = R"({"role":"user","content":"hi"})";
  const auto first = hash(system + hi);
  EXPECT_EQ(hash(system + R"({"content":"hi","role":"user"})"), first);
  EXPECT_EQ(hash(system + hi +
                 R"(,{"role":"assistant","content":"yes?"},{"role":"user","content":"more"})"),
            first);
  EXPECT_NE(hash(hi), first);
  EXPECT_NE(hash(system + R"({"role":"user","content":"ho"})"), first);
  EXPECT_EQ(hash(R"({"role":"system","content":"s"})"), 0u);
  const std::string half(600, 'x');
  const std::string longer(5000, 'x');
  EXPECT_NE(hash(R"({"role":"user","content":")" + longer + "a\"}"),
            hash(R"({"role":"user","content":")" + longer + "b\"}"));
  EXPECT_NE(hash(R"({"role":"user","content":")" + half + "\"}"),
            hash(R"({"role":"user","content":")" + longer + "\"}"));
}

TEST(Intent, RefusesWhatIsNoObject) {
  for (const auto* body :
       {"", " ", "null", "[]", "\"model\"", "7", "model=x", "{", "{\"model\"", "{\"model\":7}",
        "{\"model\":[\"a\"]}", "\xef\xbb\xbf{\"model\":\"a\"}"}) {
    const Scanned got(body, Op::chat);
    ASSERT_FALSE(got.result) << body;
    EXPECT_EQ(got.result.error().kind, ErrorKind::bad_input);
  }
}

TEST(Intent, ReadsWhatOllamasDecoderTakesAndAStrictParserRefuses) {
  const Scanned not_utf8("{\"model\":\"a\",\"prompt\":\"caf\xe9\",\"stream\":false}", Op::generate);
  ASSERT_TRUE(not_utf8.result);
  EXPECT_EQ(not_utf8->model, "a");
  EXPECT_FALSE(not_utf8->stream);
  EXPECT_FALSE(not_utf8->empty_prompt);
  const Scanned trailing("{\"model\":\"a\"}garbage", Op::generate);
  ASSERT_TRUE(trailing.result);
  EXPECT_EQ(trailing->model, "a");
  const Scanned broken("{\"model\":\"a\",\"prompt\":\"x", Op::generate);
  ASSERT_TRUE(broken.result);
  EXPECT_EQ(broken->model, "a");
}

TEST(Intent, SurvivesDepthSizeAndNul) {
  const std::string deep(300'000, '[');
  EXPECT_FALSE(Scanned(deep, Op::chat).result);
  const std::string shut(300'000, ']');
  const Scanned closed("{\"x\":" + deep + shut + ",\"model\":\"m\"}", Op::chat);
  ASSERT_TRUE(closed.result);
  EXPECT_EQ(closed->model, "m");
  const Scanned huge("{\"prompt\":\"" + std::string(20 << 20, 'a') + "\",\"model\":\"m\"}",
                     Op::generate);
  ASSERT_TRUE(huge.result);
  EXPECT_EQ(huge->prompt_bytes, 20u << 20);
  const std::string nul("{\"model\":\"a\0b\"}", 15);
  EXPECT_FALSE(Scanned(nul, Op::chat).result);
  const Scanned escaped_nul("{\"model\":\"a\\u0000b\"}", Op::chat);
  ASSERT_TRUE(escaped_nul.result);
  EXPECT_EQ(escaped_nul->model, std::string_view("a\0b", 3));
}

TEST(Intent, ForgetsTheBodyBefore) {
  IntentScanner scanner;
  const Body full(R"({"model":"a","stream":false,"options":{"num_ctx":1},"tools":[1]})");
  ASSERT_TRUE(scanner.scan(full.view(), Op::chat));
  const Body empty("{}", '}');
  const auto got = scanner.scan(empty.view(), Op::chat);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->has_model);
  EXPECT_TRUE(got->stream);
  EXPECT_EQ(got->num_ctx, 0u);
  EXPECT_FALSE(got->uses_tools);
}

/// A valid body with bytes replaced, dropped or doubled.
rc::Gen<std::string> mutated_body() {
  const std::string body =
      R"({"model":"m:1","messages":[{"role":"user","content":[{"type":"text","text":"a\"b"}],"images":["x"]}],)"
      R"("options":{"num_ctx":4096,"use_mmap":true},"tools":[{}],"input":["a",1],"keep_alive":"5m","stream":true,)"
      R"("prompt":"p","system":["s"],"max_tokens":7})";
  using Edit = std::tuple<std::size_t, char>;
  const auto edits = rc::gen::container<std::vector<Edit>>(
      rc::gen::tuple(rc::gen::inRange<std::size_t>(0, body.size()),
                     rc::gen::elementOf(std::string("{}[]\":,\\1an\x80 "))));
  return rc::gen::map(edits, [body](const std::vector<Edit>& list) {
    std::string text = body;
    for (const auto& [at, c] : list) {
      if (c == 'n') {
        text.erase(at % text.size(), 1);
      } else {
        text[at % text.size()] = c;
      }
    }
    return text;
  });
}

RC_GTEST_PROP(IntentProperty, AnyBytesEndInAnIntentOrAnError, ()) {
  const auto text = *mutated_body();
  IntentScanner scanner;
  for (int op = 0; op <= static_cast<int>(Op::none); ++op) {
    const Body body(text);
    const auto got = scanner.scan(body.view(), static_cast<Op>(op));
    RC_ASSERT(got || got.error().kind == ErrorKind::bad_input);
    if (got) RC_ASSERT(got->has_model == !got->model.empty());
  }
}

TEST(Multipart, FindsTheModel) {
  const std::string body =
      "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: "
      "audio/wav\r\n\r\n"
      "RIFF\r\n--X\r\n\r\nname=\"model\"\r\n--XX\r\ncontent-disposition: form-data; "
      "name=\"model\"\r\n\r\n"
      "whisper:1\r\n--XX--\r\n";
  const auto got = multipart_model("multipart/form-data; boundary=XX", body);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, "whisper:1");
  EXPECT_EQ(*multipart_model("Multipart/Form-Data; charset=utf-8; Boundary=\"XX\"",
                             "preamble\r\n" + body),
            "whisper:1");
}

TEST(Multipart, RefusesWhatHasNone) {
  EXPECT_FALSE(multipart_model("application/json", "{}"));
  EXPECT_FALSE(multipart_model("multipart/form-data; boundary=", "--\r\n"));
  EXPECT_FALSE(multipart_model("multipart/form-data; boundary=X", ""));
  EXPECT_FALSE(multipart_model("multipart/form-data; boundary=X", "--X\r\n\r\n--X--"));
  EXPECT_FALSE(
      multipart_model("multipart/form-data; boundary=X",
                      "--X\r\nContent-Disposition: form-data; name=\"models\"\r\n\r\nm\r\n--X--"));
}

RC_GTEST_PROP(MultipartProperty, AnyCutOfAFormIsSafe, ()) {
  const std::string body =
      "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\nContent-Disposition: "
      "form-data; "
      "name=\"model\"\r\n\r\nm\r\n--X--\r\n";
  const auto from = *rc::gen::inRange<std::size_t>(0, body.size());
  const auto length = *rc::gen::inRange<std::size_t>(0, body.size());
  const auto got = multipart_model("multipart/form-data; boundary=X",
                                   std::string_view(body).substr(from, length));
  if (got) RC_ASSERT(got->starts_with('m') || got->empty());
}

}  // namespace
}  // namespace sollol::api

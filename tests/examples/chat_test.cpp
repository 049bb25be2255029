// SPDX-License-Identifier: MIT
// bitnet-chat as a process. The tiny model knows no dialogs: the tests are about the flow, not the answers.
#include "../../examples/tools/interrupt.hpp"
#include "models.hpp"
#include "process.hpp"

#include <golden/golden_data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

namespace {

std::vector<std::string> with(std::vector<std::string> more, const std::string& file = tiny) {
    more.insert(more.begin(), {"-m", file});
    return more;
}

/// How bitnet-generate continues the dialog from its whole text; it adds BOS.
std::string generated(const std::string& dialog, std::vector<std::string> more) {
    more.insert(more.begin(), {"-m", tiny, "-p", dialog, "--special"});
    return output("generate", more);
}

/// The tiny model with another template, or none.
std::string write_with_template(const temporary_folder& folder, std::string_view text) {
    auto editor = edit_tiny();
    if (text.empty()) {
        editor.remove_key("tokenizer.chat_template");
    } else {
        editor.set_value("tokenizer.chat_template", bitnet::gguf_type::string, gguf_editor::string(text));
    }
    return folder.write("template.gguf", as_text(editor.bytes()));
}

} // namespace

TEST_CASE("bitnet-chat prints calls of functions, and goes on with the lines that are their results") {
    const temporary_folder folder;
    const std::string functions = folder.write("tools.json", R"([{"type":"function","function":{"name":"wait"}}])");
    const outcome done = run("chat", with({"--tools", functions, "--tool-choice", "wait", "-n", "90", "--seed", "3"}),
                             "Go\nwaited\n/reset\nGo\nwaited\nAgain\n");
    REQUIRE_MESSAGE(done.status == 0, done.err);
    CHECK(done.out.starts_with("\nwait {}\n")); // there is no text in front of it
    CHECK(done.out.find("\n\nwait {}\n", 5) != std::string::npos);
    const outcome other = run("chat", with({"--tools", functions, "--tool-form", "llama3"}), "Go\n");
    CHECK(other.status != 0);
    CHECK(other.err.find("calls of tools are to be written as LLaMA-3.1's are") != std::string::npos);
    const outcome both = run("chat", with({"--tools", functions, "--regex", "a"}), "");
    CHECK(both.status != 0);
    CHECK(both.err.find("--tools was given, and a grammar") != std::string::npos);
    const outcome unknown = run("chat", with({"--tools", functions, "--tool-choice", "fly"}), "Go\n");
    CHECK(unknown.status != 0);
    CHECK(unknown.err.find("tool_choice: there is no function 'fly'") != std::string::npos);
}

TEST_CASE("every answer of bitnet-chat matches the grammar") {
    const temporary_folder folder;
    const std::string choices = folder.write("choices.txt", "yes\nno\nperhaps\n");
    const outcome done = run("chat", with({"--choices", choices, "-n", "12", "--temp", "2", "--seed", "3"}),
                             "Is it far?\nIs it near?\n/reset\nIs it far?\n");
    REQUIRE_MESSAGE(done.status == 0, done.err);
    std::istringstream lines(done.out);
    std::vector<std::string> answers;
    for (std::string line; std::getline(lines, line);) {
        CHECK((line == "yes" || line == "no" || line == "perhaps"));
        answers.push_back(line);
    }
    REQUIRE(answers.size() == 3);
    CHECK(answers[0] == answers[2]); // the same seed
    const outcome both = run("chat", with({"--choices", choices, "--regex", "a"}), "Is it far?\n");
    CHECK(both.status == 1);
    CHECK(contains(both.err, "more than one of --grammar"));
}

TEST_CASE("an answer is the model's continuation of the rendered dialog") {
    const std::vector<std::string> options{"-n", "30", "--seed", "4"};
    const outcome one = run("chat", with(options), "Once upon a time\n");
    CHECK(one.status == 0);
    CHECK(one.out == generated("User: Once upon a time<|eot_id|>Assistant: ", options) + "\n");
    CHECK(contains(one.err, "chat format bitnet: the file has bitnet's template"));

    auto told = options;
    told.insert(told.end(), {"--system", "Tell a story."});
    CHECK(run("chat", with(told), "the king").out == // without a line end: the input ends
          generated("System: Tell a story.<|eot_id|>User: the king<|eot_id|>Assistant: ", options) + "\n");
    told[4] = "-s";
    CHECK(run("chat", with(told), "the king\n").out == run("chat", with(told), " the king \r\n").out);
}

TEST_CASE("an answer of bitnet-chat ends before the first of the texts that stop it, and the next one goes on") {
    const std::vector<std::string> options{"-n", "30", "--temp", "0"};
    const std::string all = output("chat", with(options), "Once upon a time\n");
    REQUIRE(all.size() > 12);
    const std::string text = all.substr(8, 4);
    auto stopping = options;
    stopping.insert(stopping.end(), {"--stop", "unseen", "--stop", text});
    const std::string once = all.substr(0, all.find(text)) + "\n";
    CHECK(output("chat", with(stopping), "Once upon a time\n/reset\nOnce upon a time\n") == once + once);
    const outcome refused = run("chat", with({"--stop", ""}), "Once upon a time\n");
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "stop"));
}

TEST_CASE("the second turn sees the first, and /reset forgets it") {
    const std::vector<std::string> options{"-n", "20", "--temp", "0"};
    const std::string once = output("chat", with(options), "Once upon a time\n");
    const std::string twice = output("chat", with(options), "Once upon a time\nOnce upon a time\n");
    REQUIRE(twice.starts_with(once));
    CHECK(twice != once + once);
    const std::string anew = output("chat", with(options), "Once upon a time\n/reset\nOnce upon a time\n");
    CHECK(anew == once + once);
    const std::string sampled =
        output("chat", with({"-n", "20", "--seed", "9"}), "the queen\nthe king\n/reset\nthe queen\nthe king\n");
    CHECK(sampled.substr(0, sampled.size() / 2) == sampled.substr(sampled.size() / 2));
}

TEST_CASE("a model whose control tokens are spelled with BOS in front chats as it would without, with a note") {
    const temporary_folder folder;
    const std::vector<std::string> options{"-n", "20", "--temp", "0"};
    const std::string dialog = "Once upon a time\nthe king <|eot_id|>\n";
    const std::string expected = output("chat", with(options), dialog);
    for (const bool names_pre : {true, false}) {
        const std::string file = write_with_bos_in_front(folder, names_pre);
        const outcome ran = run("chat", with(options, file), dialog);
        CHECK(ran.status == 0);
        CHECK(ran.out == expected);
        CHECK(contains(ran.err, "note: control tokens are spelled with '<|begin_of_text|>' in front, such as "));
        CHECK(contains(ran.err, "chat format bitnet: "));
        CHECK(
            contains(output("inspect", {file}), "note: control tokens are spelled with '<|begin_of_text|>' in front"));
    }
}

TEST_CASE("an answer that is cut off is ended as the format ends it, and the next turn follows") {
    const std::vector<std::string> options{"--template", "llama3", "-n", "2", "--temp", "0"};
    const std::string first = output("chat", with(options), "Once upon a time\n");
    const std::string both = output("chat", with(options), "Once upon a time\nthe king\n");
    REQUIRE(both.starts_with(first));
    const auto header = [](const std::string& role) { return "<|start_header_id|>" + role + "<|end_header_id|>\n\n"; };
    const std::string dialog = header("user") + "Once upon a time<|eot_id|>" + header("assistant") +
                               first.substr(0, first.size() - 1) + "<|eot_id|>" + header("user") +
                               "the king<|eot_id|>" + header("assistant");
    INFO(dialog);
    CHECK(both.substr(first.size()) == generated(dialog, {"-n", "2", "--temp", "0"}) + "\n");
}

TEST_CASE("neither threads nor the instruction set change a byte of a dialog") {
    const auto talk = [](const std::string& threads, const std::string& isa) {
        return output("chat", with({"-n", "25", "-t", threads, "--isa", isa}), "Once upon a time\nthe king\n");
    };
    const std::string first = talk("1", "scalar");
    CHECK(talk("3", "scalar") == first);
    for (const std::string& isa : isas_that_run()) {
        INFO(isa);
        CHECK(talk("2", isa) == first);
    }
}

TEST_CASE("commands are obeyed, unknown ones named, empty lines skipped, and stdout stays empty") {
    const outcome ran = run("chat", with({"-n", "5"}), "\n  \n/help\n/sing\n/exit\nOnce upon a time\n");
    CHECK(ran.status == 0);
    CHECK(ran.out.empty());
    CHECK(contains(ran.err, "/reset  forgets the dialog"));
    CHECK(contains(ran.err, "there is no command /sing"));
    const std::string spaced = output("chat", with({"-n", "5", "--seed", "2"}), " /help me\n");
    CHECK(spaced == generated("User: /help me<|eot_id|>Assistant: ", {"-n", "5", "--seed", "2"}) + "\n");
    CHECK(run("chat", with({})).status == 0);
}

TEST_CASE("with --when-full stop a full context is reported with the remedy, and /reset makes room") {
    const std::vector<std::string> options = with({"-c", "16", "--temp", "0", "--when-full", "stop"});
    const outcome full = run("chat", options, "Once upon a time\nthe king\n/reset\nOnce upon a time\n");
    CHECK(full.status == 0);
    CHECK(contains(full.err, "all 16 positions are taken"));
    CHECK(contains(full.err, "/reset starts anew; a context of up to 512 positions is had with -c"));
    CHECK(contains(full.err, "tokens do not fit, the context has 16 positions"));
    CHECK(full.out.substr(0, full.out.size() / 2) == full.out.substr(full.out.size() / 2));
    CHECK(std::count(full.out.begin(), full.out.end(), '\n') >= 2);

    // A question that does not fit is forgotten: the next one is as if it had not been asked.
    const std::string hello = output("chat", with({"-c", "40", "-n", "4"}), "the king\n");
    const std::string longer(400, 'x');
    CHECK(output("chat", with({"-c", "40", "-n", "4"}), longer + "\nthe king\n") == hello);
}

TEST_CASE("with --when-full window a dialog goes on for ever, too, and nothing is forgotten as a turn") {
    const auto options = with({"--temp", "0.8", "-n", "60", "--when-full", "window", "-s", "Tell a story."});
    std::string questions;
    for (int i = 0; i < 14; ++i) {
        questions += i % 2 == 0 ? "Once upon a time there was a castle in a wood, and nobody knew who had built it\n"
                                : "the king\n";
    }
    const outcome ran = run("chat", options, questions);
    CHECK(ran.status == 0);
    CHECK(contains(ran.err, "(the window has "));
    CHECK(!contains(ran.err, "turns were forgotten"));
    CHECK(!contains(ran.err, "tokens do not fit"));
    CHECK(std::count(ran.out.begin(), ran.out.end(), '\n') >= 14);
    const outcome refused = run("chat", with({"-c", "60", "--when-full", "window"}), "the king\n");
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "a window takes a context of whole pages"));
}

TEST_CASE("a dialog goes on for ever: the oldest turns are forgotten, with a note, and what the system says is kept") {
    const std::vector<std::string> options{"-c", "60", "--temp", "0", "-n", "12", "-s", "Tell a story."};
    std::string questions;
    for (int i = 0; i < 20; ++i) {
        questions += i % 2 == 0 ? "Once upon a time\n" : "the king\n";
    }
    const outcome ran = run("chat", with(options), questions);
    CHECK(ran.status == 0);
    CHECK(contains(ran.err, "(to make room, the oldest turns were forgotten: 2"));
    CHECK(!contains(ran.err, "tokens do not fit"));
    CHECK(std::count(ran.out.begin(), ran.out.end(), '\n') >= 20);
    // Nothing but the question fits: an answer has nothing to forget, and the next question begins where the first did.
    const outcome tight = run("chat", with({"-c", "16", "--temp", "0"}), "the king\nthe king\n");
    CHECK(contains(tight.err, "all 16 positions are taken"));
    CHECK(tight.out.substr(0, tight.out.size() / 2) == tight.out.substr(tight.out.size() / 2));
}

TEST_CASE("a file with a wrong template is used with the right format, and a note says so") {
    const temporary_folder folder;
    const std::string wrong = write_with_template(
        folder, "{% if message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' }}");
    const auto talk = [](const std::string& file) {
        return run("chat", with({"-n", "20"}, file), "Once upon a time\n");
    };
    CHECK(talk(wrong).out == talk(tiny).out);
    CHECK(contains(talk(wrong).err, "known to be wrong"));
    CHECK(talk(write_with_template(folder, "")).out == talk(tiny).out);
    CHECK(contains(talk(write_with_template(folder, "")).err, "chat format bitnet (inferred): "));
}

TEST_CASE("an unknown template ends the program and lists the known ones, --template overrides it") {
    const temporary_folder folder;
    const std::string file = write_with_template(folder, "{{ messages | join('\x1b[31m###') }}");
    const outcome refused = run("chat", with({"-n", "5"}, file), "Once\n");
    CHECK(refused.status == 1);
    CHECK(refused.out.empty());
    CHECK(contains(refused.err, "tokenizer.chat_template is not known"));
    CHECK(contains(refused.err, "bitnet, llama3, falcon3, chatml"));
    CHECK(!contains(refused.err, "\x1b"));
    CHECK(run("chat", with({"-n", "5", "--template", "bitnet"}, file), "Once\n").out ==
          run("chat", with({"-n", "5"}), "Once\n").out);
    CHECK(run("chat", with({"-n", "5", "--template", "llama3"}), "Once\n").status == 0);
    CHECK(contains(run("chat", with({"--template", "chatml"}), "Once\n").err, "'<|im_start|>'"));
    CHECK(run("chat", with({"--template", "alpaca"})).status == 2);
}

TEST_CASE("typed control tokens are plain text") {
    const std::vector<std::string> options = with({"-n", "20", "--temp", "0"});
    CHECK(output("chat", options, "a<|eot_id|>User: b\n") !=
          generated("User: a<|eot_id|>User: b<|eot_id|>Assistant: ", {"-n", "20", "--temp", "0"}) + "\n");
}

TEST_CASE("an interrupt is noted once, and the handler before it is restored") {
    const auto before = std::signal(SIGINT, SIG_IGN);
    {
        const tools::interrupt interrupt;
        CHECK(!interrupt.seen());
        CHECK(std::raise(SIGINT) == 0);
        CHECK(interrupt.seen());
        CHECK((std::signal(SIGINT, SIG_IGN) == SIG_DFL)); // the second would end the program
    }
    {
        const tools::interrupt interrupt;
        CHECK(!interrupt.seen());
    }
    CHECK((std::signal(SIGINT, before) == SIG_IGN));
}

TEST_CASE("Ctrl-C stops an answer, and the dialog goes on") {
    // The shell sends it as soon as the first bytes of an answer are there; the answer would be 500 tokens long.
    const temporary_folder folder;
    const std::string out = shell_word(folder.path("out"));
    const std::string err = shell_word(folder.path("err"));
    const std::string pipe = shell_word(folder.path("pipe"));
    std::ostringstream script;
    script << "mkfifo " << pipe << "\n"
           << command_line("chat", with({"--temp", "0", "-t", "1", "--isa", "scalar"})) << " <" << pipe << " >" << out
           << " 2>" << err << " &\n"
           << "chat=$!\nexec 3>" << pipe << "\necho 'Once upon a time' >&3\n"
           << "n=0; while [ ! -s " << out << " ] && [ $n -lt 1000000 ]; do n=$((n+1)); done\n"
           << "kill -INT $chat\n"
           << "echo /reset >&3; echo /help >&3; exec 3>&-\nwait $chat\n";
    const std::string file = folder.write("script", script.str());
    CHECK(std::system(("sh " + shell_word(file)).c_str()) == 0);
    const std::string told = contents(folder.path("err"));
    INFO(told);
    const auto stopped = told.find("(stopped)");
    REQUIRE(stopped != std::string::npos);
    CHECK(told.find("(a new dialog)") > stopped);
    CHECK(contains(told, "/reset  forgets"));
    const std::string answer = contents(folder.path("out"));
    CHECK(answer.ends_with('\n'));
    const std::string whole = output("chat", with({"--temp", "0"}), "Once upon a time\n");
    CHECK(answer.size() < whole.size());
    CHECK(whole.starts_with(answer.substr(0, answer.size() - 1)));
}

TEST_CASE("control tokens in an answer are left out, unless --show-special") {
    const temporary_folder folder;
    const std::vector<std::string> options{"-n", "12", "--temp", "0"};
    const std::string plain = output("chat", with(options), "Once upon a time\n");
    const std::string ids =
        output("tokenize", {"-m", tiny}, R"({"text":")" + plain.substr(0, plain.find(' ')) + R"("})");
    const std::string first = ids.substr(ids.find('[') + 1, ids.find_first_of(",]") - ids.find('[') - 1);
    const std::string json = output("tokenize", {"-m", tiny, "--decode"}, R"({"ids":[)" + first + "]}");
    const std::string word = json.substr(9, json.find("\"}") - 9); // after {"text":"
    REQUIRE(plain.starts_with(word));
    constexpr std::size_t reserved = 4100;
    const std::string file = write_with_swapped(folder, std::stoul(first), reserved);
    CHECK(output("chat", with(options, file), "Once upon a time\n") == plain.substr(word.size()));
    auto shown = options;
    shown.emplace_back("--show-special");
    CHECK(output("chat", with(shown, file), "Once upon a time\n") ==
          "<|reserved_special_token_2|>" + plain.substr(word.size()));
}

TEST_CASE("golden: a model that thinks is prompted by its template, and thoughts of earlier answers are dropped") {
    if (skip_without_golden()) {
        return;
    }
    const std::string file = golden_path("ternary/bitnet-silu-tq2_0.gguf");
    const std::string question = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    const std::string no_thought = "<think>\n\n</think>\n\n";
    const auto continued = [&](const std::string& dialog) {
        return output("generate", {"-m", file, "-p", dialog, "--special", "-n", "4", "--temp", "0"});
    };
    const auto chat = [&](std::vector<std::string> more, std::string_view input) {
        more.insert(more.begin(), {"-m", file, "-n", "4", "--temp", "0"});
        return output("chat", more, input);
    };
    const std::string first = continued(question + no_thought);
    CHECK(chat({}, "Hello\n") == first + "\n");
    CHECK(chat({"--thinking", "off"}, "Hello\n") == first + "\n");
    CHECK(chat({"--thinking", "on"}, "Hello\n") == continued(question) + "\n");
    const std::string second =
        continued("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n" + first +
                  "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n" + no_thought);
    CHECK(chat({}, "Hello\nWhy?\n") == first + "\n" + second + "\n");
    // A question that does not fit is forgotten, and the dialog goes on as it was.
    const std::string longer(300, 'x');
    CHECK(chat({"-c", "100"}, "Hello\n" + longer + "\nWhy?\n") == first + "\n" + second + "\n");
}

TEST_CASE("a model whose template knows of no thoughts cannot be told to think") {
    const outcome told = run("chat", with({"--thinking", "on"}), "Once\n");
    CHECK(told.status == 1);
    CHECK(contains(told.err, "knows of no thoughts"));
    CHECK(output("chat", with({"-n", "5", "--thinking", "off", "--show-thoughts"}), "Once\n") ==
          output("chat", with({"-n", "5"}), "Once\n"));
    CHECK(run("chat", with({"--thinking", "deep"})).status == 2);
}

// SPDX-License-Identifier: MIT
// dialog.exe MODEL: a dialog, a callback, a grammar and errors by P/Invoke, as Unity and .NET call the library.
using System;
using System.Runtime.InteropServices;
using System.Text;

static class Native {
    const string library = "bitnet"; // libbitnet.so, bitnet.dll
    const CallingConvention cdecl = CallingConvention.Cdecl;

    [StructLayout(LayoutKind.Sequential)]
    public struct Sampling {
        public uint struct_size;
        public int is_advised;
        public ulong seed;
        public float temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
        public uint top_k, penalty_window, reserved;
    }
    [StructLayout(LayoutKind.Sequential)]
    public struct ConversationOptions {
        public uint struct_size, context, threads, answer_limit;
        public int when_full, thinking, show_thoughts;
        public uint stop_count;
        public IntPtr stop_texts, system, chat_format, sampling, pages, tools, jobs;
    }
    [UnmanagedFunctionPointer(cdecl)]
    public delegate int OnText(IntPtr context, IntPtr text, ulong bytes);

    // Texts are UTF-8: as byte[], because string would be sent in the system's encoding.
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_c_version();
    [DllImport(library, CallingConvention = cdecl)] public static extern IntPtr bitnet_code_name(int code);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_model_open(byte[] path, long bytes, IntPtr options, out IntPtr model, byte[] message, uint capacity);
    [DllImport(library, CallingConvention = cdecl)] public static extern void bitnet_model_close(IntPtr model);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_sampling_init(ref Sampling sampling);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_options_init(ref ConversationOptions options);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_open(IntPtr model, ref ConversationOptions options, out IntPtr talk, byte[] message, uint capacity);
    [DllImport(library, CallingConvention = cdecl)] public static extern void bitnet_conversation_close(IntPtr talk);
    [DllImport(library, CallingConvention = cdecl)] public static extern IntPtr bitnet_conversation_error(IntPtr talk);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_say(IntPtr talk, byte[] text, long bytes);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_regenerate(IntPtr talk);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_edit(IntPtr talk, uint turn, byte[] text, long bytes);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_step(IntPtr talk, ulong budget_us, out int state);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_answer(IntPtr talk, OnText on_text, IntPtr context);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_take_text(IntPtr talk, out IntPtr text, out ulong bytes);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_conversation_constrain(IntPtr talk, IntPtr grammar);
    [DllImport(library, CallingConvention = cdecl)] public static extern int bitnet_grammar_open(int kind, byte[] source, long bytes, out IntPtr grammar, byte[] message, uint capacity);
    [DllImport(library, CallingConvention = cdecl)] public static extern void bitnet_grammar_close(IntPtr grammar);
}

static class Dialog {
    static readonly byte[] message = new byte[512];

    static void Expect(bool isTrue, string what) {
        if (!isTrue) throw new Exception("not true: " + what);
    }
    static void Check(int code) {
        if (code != 0) throw new Exception(Text(Native.bitnet_code_name(code)) + ": " + Message());
    }
    static string Message() { return Encoding.UTF8.GetString(message, 0, Array.IndexOf(message, (byte)0)); }
    static byte[] Bytes(string text) { return Encoding.UTF8.GetBytes(text); }
    static string Text(IntPtr text, ulong bytes) {
        var copy = new byte[bytes];
        if (bytes > 0) Marshal.Copy(text, copy, 0, copy.Length);
        return Encoding.UTF8.GetString(copy);
    }
    static string Text(IntPtr text) {
        ulong bytes = 0;
        while (Marshal.ReadByte(text, (int)bytes) != 0) ++bytes;
        return Text(text, bytes);
    }
    // With a 0 at its end, for options, which point to it until the call that takes them is over.
    static IntPtr Kept(string text) {
        var bytes = Bytes(text + "\0");
        var kept = Marshal.AllocHGlobal(bytes.Length);
        Marshal.Copy(bytes, 0, kept, bytes.Length);
        return kept;
    }

    // As a game does it: a little in every frame.
    static string Answer(IntPtr talk, string question) {
        var bytes = Bytes(question);
        Check(Native.bitnet_conversation_say(talk, bytes, bytes.Length));
        var all = new StringBuilder();
        for (int state = 1; state != 0;) {
            IntPtr text;
            ulong size;
            Check(Native.bitnet_conversation_step(talk, 5000, out state));
            Check(Native.bitnet_conversation_take_text(talk, out text, out size));
            all.Append(Text(text, size)); // which is whole characters
        }
        return all.ToString();
    }

    static IntPtr Open(string path) {
        IntPtr model, talk;
        var bytes = Bytes(path);
        Check(Native.bitnet_model_open(bytes, bytes.Length, IntPtr.Zero, out model, message, 512));
        var sampling = new Native.Sampling();
        Check(Native.bitnet_sampling_init(ref sampling));
        Expect(sampling.struct_size == Marshal.SizeOf(sampling), "sampling has the size of the library's");
        sampling.seed = 1;
        var options = new Native.ConversationOptions();
        Check(Native.bitnet_conversation_options_init(ref options));
        Expect(options.struct_size == Marshal.SizeOf(options), "options have the size of the library's");
        options.context = 512;
        options.threads = 1;
        options.answer_limit = 32;
        options.chat_format = Kept("llama3");
        options.system = Kept("You tell stories.");
        options.sampling = Marshal.AllocHGlobal(Marshal.SizeOf(sampling));
        Marshal.StructureToPtr(sampling, options.sampling, false);
        Check(Native.bitnet_conversation_open(model, ref options, out talk, message, 512));
        Marshal.FreeHGlobal(options.chat_format);
        Marshal.FreeHGlobal(options.system);
        Marshal.FreeHGlobal(options.sampling);
        Native.bitnet_model_close(model); // the conversation keeps it
        return talk;
    }

    static void TestErrors(IntPtr talk) {
        IntPtr model;
        var nowhere = Bytes("/nowhere/ä.gguf");
        Expect(Native.bitnet_model_open(nowhere, nowhere.Length, IntPtr.Zero, out model, message, 512) == -2, "BITNET_E_NOT_FOUND");
        Expect(model == IntPtr.Zero && Message().Contains("/nowhere/ä.gguf"), Message());
        Expect(Native.bitnet_conversation_edit(talk, 77, Bytes("x"), 1) == -1, "BITNET_E_ARGUMENT");
        Expect(Text(Native.bitnet_conversation_error(talk)).Contains("77"), "the sentence names the turn");
    }

    static int Main(string[] arguments) {
        Expect(Native.bitnet_c_version() == 2, "the version of the header");
        var talk = Open(arguments[0]);
        Expect(Answer(talk, "Who lived in the castle?").Length > 0, "an answer");

        var streamed = new StringBuilder();
        Native.OnText onText = (context, text, bytes) => { streamed.Append(Text(text, bytes)); return 1; };
        Check(Native.bitnet_conversation_regenerate(talk));
        Check(Native.bitnet_conversation_answer(talk, onText, IntPtr.Zero));
        GC.KeepAlive(onText); // the library has its address until then
        Expect(streamed.Length > 0, "an answer by a callback");

        IntPtr grammar;
        var schema = Bytes("{\"type\":\"object\",\"properties\":{\"name\":{\"enum\":[\"Ann\",\"Bob\"]}},\"required\":[\"name\"],\"additionalProperties\":false}");
        Check(Native.bitnet_grammar_open(1, schema, schema.Length, out grammar, message, 512));
        Check(Native.bitnet_conversation_constrain(talk, grammar));
        Native.bitnet_grammar_close(grammar);
        var said = Answer(talk, "Who?").Replace(" ", "");
        Expect(said == "{\"name\":\"Ann\"}" || said == "{\"name\":\"Bob\"}", said);

        TestErrors(talk);
        Native.bitnet_conversation_close(talk);
        Console.WriteLine("a dialog from C#: " + said);
        return 0;
    }
}

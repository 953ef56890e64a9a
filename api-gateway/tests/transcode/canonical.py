"""What Google's protobuf runtime makes of JSON texts and of messages.

    canonical.py < QUESTIONS > ANSWERS

Both are JSON. A question is {"json": TEXT} or {"message": BASE64}; `type` names its message; `descriptors` beside the
questions is a FileDescriptorSet. An answer has `message` and `json`, or `error`.
"""

import base64
import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory


def answer(pool, question):
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(question["type"]))
    try:
        if "json" in question:
            message = json_format.Parse(question["json"], kind(), descriptor_pool=pool)
        else:
            message = kind.FromString(base64.b64decode(question["message"]))
        return {
            "message": base64.b64encode(message.SerializeToString(deterministic=True)).decode(),
            "json": json_format.MessageToJson(message, descriptor_pool=pool),
            "with_defaults": json_format.MessageToJson(
                message, descriptor_pool=pool, always_print_fields_with_no_presence=True
            ),
        }
    except Exception as error:  # whatever it raises is a refusal
        return {"error": ascii(error)}


def main():
    asked = json.load(sys.stdin)
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(asked["descriptors"]))
    for file in files.file:
        pool.Add(file)
    json.dump([answer(pool, question) for question in asked["questions"]], sys.stdout)


main()

"""What a patient is told, and in which words: which event of the chain makes which notice.

Law of the file: a notice says that something happened at an organisation, and on which day; never who
the patient is, never what a record says or of which class it is. The rest stands on the patient's page,
where he proves who he is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from salus.codec import Uint, Wire
from salus.permit import Purpose


class NoticeKind(StrEnum):
    REGISTERED = "registered"
    KEY_WAITS = "key_waits"
    KEY_CHANGED = "key_changed"
    KEY_KEPT = "key_kept"
    RECOVERY_PROPOSED = "recovery_proposed"
    RECOVERY_WAITS = "recovery_waits"
    FRIENDS = "friends"
    TERMS = "terms"
    TEMPLATE = "template"
    PERMIT_GRANTED = "permit_granted"
    PERMIT_ENDED = "permit_ended"
    READ = "read"
    REFUSED = "refused"
    EMERGENCY = "emergency"
    SUMMARY = "summary"
    ERASURE = "erasure"
    CONTACT = "contact"
    ERASURE_STOPPED = "erasure_stopped"


class Language(StrEnum):
    EN = "en"
    ZH = "zh"


class Notice(Wire, frozen=True):
    """What happened, without whom: organisation, day, how often."""

    kind: NoticeKind
    org: str
    time_ms: Uint  # block time of the first
    count: Uint


# Events with the organisation and the handle of a relation. Of the emergency's, all others are news of a
# case; of `access.decided` it depends on what was decided.
_BY_EVENT = {
    "identity.registered": NoticeKind.REGISTERED,
    "identity.rotating": NoticeKind.KEY_WAITS,
    "identity.vetoed": NoticeKind.KEY_KEPT,
    "identity.claimed": NoticeKind.KEY_CHANGED,
    "identity.recovering": NoticeKind.RECOVERY_PROPOSED,
    "identity.recovery_waits": NoticeKind.RECOVERY_WAITS,
    "identity.recovery_cancelled": NoticeKind.KEY_KEPT,
    "identity.recovered": NoticeKind.KEY_CHANGED,
    "identity.guarded": NoticeKind.FRIENDS,
    "identity.delegated": NoticeKind.FRIENDS,
    "identity.undelegated": NoticeKind.FRIENDS,
    "identity.terms_accepted": NoticeKind.TERMS,
    "identity.biometric_enrolled": NoticeKind.TEMPLATE,
    "identity.biometric_withdrawn": NoticeKind.TEMPLATE,
    "consent.granted": NoticeKind.PERMIT_GRANTED,
    "consent.revoked": NoticeKind.PERMIT_ENDED,
    "access.denials_counted": NoticeKind.REFUSED,
    "emergency.deposited": NoticeKind.SUMMARY,
    "emergency.opted": NoticeKind.SUMMARY,
    "erasure.requested": NoticeKind.ERASURE,
    "erasure.cancelled": NoticeKind.ERASURE_STOPPED,
}
# `CONTACT` is of no event: the outbox itself tells it, to the contact before.
# Steps of what was told already, or the patient's own doing at a counter.
SILENT = frozenset(
    (
        "identity.recovery_approved",
        "identity.biometric_compared",
        "access.received",
        "erasure.begun",
    )
)
# Many of them are one message: a stay in hospital is hundreds of reads.
GATHERED = frozenset((NoticeKind.READ, NoticeKind.REFUSED))


def kind_of(event: str, data: Mapping[str, Any]) -> NoticeKind | None:
    """The notice that an event is worth; None: none."""
    if event.startswith("emergency."):
        return _BY_EVENT.get(event, NoticeKind.EMERGENCY)
    if event == "access.decided":
        if data.get("purpose") == Purpose.PATIENT_REQUEST.value:
            return None  # his own look
        return NoticeKind.READ if data.get("permitted") is True else NoticeKind.REFUSED
    return _BY_EVENT.get(event)


def subject(language: Language) -> str:
    return {Language.EN: "About your health records", Language.ZH: "关于您的健康记录"}[language]


def text(notice: Notice, language: Language) -> str:
    """The message, in full."""
    day = datetime.fromtimestamp(notice.time_ms // 1000, UTC).strftime("%Y-%m-%d")
    sentence = _WORDS[notice.kind][language is Language.ZH]
    if language is Language.ZH:
        times = f"({notice.count} 次)" if notice.count > 1 else ""
        return (
            f"{day}(UTC),{notice.org}:{sentence}{times}。\n"
            "详情请见您的患者页面或 salus patient show。如非您本人所为,请联系该机构或您的监护人。\n"
        )
    times = f" ({notice.count} times)" if notice.count > 1 else ""
    return (
        f"On {day} (UTC), at {notice.org}: {sentence}{times}.\n"
        "Your patient page, or salus patient show, says more. If you did not want this, speak with "
        "the organisation or your guardians.\n"
    )


_WORDS: dict[NoticeKind, tuple[str, str]] = {
    NoticeKind.REGISTERED: ("you were registered", "您已被登记"),
    NoticeKind.KEY_WAITS: (
        "a new key was named for you, and is in force after a waiting time",
        "有人为您指定了新密钥,等待期后生效",
    ),
    NoticeKind.KEY_CHANGED: ("another key speaks for you from now on", "您的密钥已更换"),
    NoticeKind.KEY_KEPT: ("a change of your key was stopped", "一次密钥更换已被阻止"),
    NoticeKind.RECOVERY_PROPOSED: (
        "somebody proposed another key for you; nothing changes unless others approve",
        "有人提议更换您的密钥;未经他人批准不会生效",
    ),
    NoticeKind.RECOVERY_WAITS: (
        "another key for you was approved, and can be in force after a waiting time; you can cancel it",
        "您的新密钥已获批准,等待期后可生效;您可以取消",
    ),
    NoticeKind.FRIENDS: (
        "who may help you or act for you was changed",
        "您的监护人或代理人已变更",
    ),
    NoticeKind.TERMS: ("terms were accepted for you", "已以您的名义接受条款"),
    NoticeKind.TEMPLATE: (
        "a biometric enrolment of yours was made or ended",
        "您的生物特征登记已建立或终止",
    ),
    NoticeKind.PERMIT_GRANTED: (
        "a permission or refusal to read your records was given",
        "一项查阅您记录的许可或拒绝已生效",
    ),
    NoticeKind.PERMIT_ENDED: ("a permission to read your records ended", "一项查阅许可已终止"),
    NoticeKind.READ: ("your records were read", "您的记录被查阅"),
    NoticeKind.REFUSED: (
        "somebody asked for your records and was refused",
        "有人请求查阅您的记录并被拒绝",
    ),
    NoticeKind.EMERGENCY: (
        "there is news of an emergency access to your records",
        "您的记录有紧急访问的新情况",
    ),
    NoticeKind.SUMMARY: (
        "your emergency summary, or your wish about it, was changed",
        "您的急救摘要或相关意愿已变更",
    ),
    NoticeKind.CONTACT: (
        "where you are told this was changed: news goes elsewhere, or nowhere, from now on",
        "您的通知方式已更改:今后的消息将发往别处,或不再发送",
    ),
    NoticeKind.ERASURE: (
        "records of yours are to be erased; while it waits you or a guardian can stop it",
        "您的部分记录将被删除;等待期内您或监护人可以中止",
    ),
    NoticeKind.ERASURE_STOPPED: (
        "an erasure of your records was stopped before it began",
        "一次记录删除在开始前已被中止",
    ),
}

"""Who is calling? Asks the customer database that is configured."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, create_model

from examples.voice_agent.ports import ToolContext
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, PluginError, ToolSettings
from examples.voice_agent.tools.crm.base import Crm, Kind, Wanted
from examples.voice_agent.tools.crm.http_api import HttpCrm, HttpCrmSettings
from examples.voice_agent.tools.crm.salesforce import SalesforceCrm, SalesforceSettings
from examples.voice_agent.tools.crm.zoho import ZohoCrm, ZohoSettings
from examples.voice_agent.tools.phone_numbers import phone_forms

AnyCrmSettings = Annotated[
    HttpCrmSettings | SalesforceSettings | ZohoSettings, Field(discriminator="backend")
]


class CustomerLookupSettings(ToolSettings):
    crm: AnyCrmSettings
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    """Where phone numbers without a country's code are from, e.g. "VN"."""
    limit: Annotated[int, Field(ge=1, le=20)] = 3
    """Of customers that the model is told."""
    caller_only: bool = False
    """Only the number that the caller calls from can be looked up: nobody learns of others."""


class CustomerLookup(ExternalPlugin[Parameters, CustomerLookupSettings]):
    name = "customer_lookup"
    description = "Looks up a customer in the customer database. Without arguments: the caller."
    parameters = Parameters
    settings_type = CustomerLookupSettings
    read_only = True

    def __init__(self, settings: CustomerLookupSettings, *, name: str | None = None) -> None:
        super().__init__(settings, name=name)
        self._crm = _crm(settings)
        self._kinds = tuple(self._crm.kinds)
        if settings.caller_only and "phone" not in self._kinds:
            raise ValueError("caller_only needs a database that finds customers by phone")
        self.parameters = _parameters(() if settings.caller_only else self._kinds)

    async def execute(self, params: Parameters, context: ToolContext) -> dict[str, Any]:
        wanted = self._wanted(params.model_dump(exclude_none=True), context)
        records = await self._crm.find(wanted, self.settings.limit)
        if not records:
            return {"found": 0, "note": f"No customer with the {wanted.kind} {wanted.value}."}
        return {"found": len(records), "customers": [dict(record) for record in records]}

    def missing(self) -> list[str]:
        return list(self._crm.missing())

    async def aclose(self) -> None:
        await self._crm.aclose()

    def _wanted(self, given: Mapping[str, str], context: ToolContext) -> Wanted:
        if reference := given.get("reference"):
            return Wanted(reference=reference)
        if email := given.get("email"):
            return Wanted(email=email)
        if number := given.get("phone_number"):
            return Wanted(phone=phone_forms(number, self.settings.region))
        if "phone" not in self._kinds:
            raise PluginError(f"Ask the caller for: {', '.join(self._kinds)}.")
        if not context.call.caller:
            raise PluginError("The caller's number is withheld. Ask the caller for a number.")
        return Wanted(phone=phone_forms(context.call.caller, self.settings.region))


def _crm(settings: CustomerLookupSettings) -> Crm:
    crm, timeout_s = settings.crm, settings.timeout_s
    if isinstance(crm, SalesforceSettings):
        return SalesforceCrm(crm, timeout_s)
    if isinstance(crm, ZohoSettings):
        return ZohoCrm(crm, timeout_s)
    return HttpCrm(crm, timeout_s)


def _parameters(kinds: tuple[Kind, ...]) -> type[Parameters]:
    """The model is told only of what the database can be asked for."""
    fields = {
        "phone": (
            "phone_number",
            Field(None, max_length=40, description="As it was said; leave out for the caller's."),
        ),
        "email": (
            "email",
            Field(None, max_length=254, pattern=r"^[^\s@]+@[^\s@]+\.[^\s@]+$"),
        ),
        "reference": (
            "reference",
            Field(
                None,
                pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}$",
                description="A customer's or contract's number.",
            ),
        ),
    }
    offered: dict[str, Any] = {fields[k][0]: (str | None, fields[k][1]) for k in kinds}
    return create_model("CustomerLookupParameters", __base__=Parameters, **offered)
